//! `POST /mcp/servers/{serverId}/test-connection`, against a real MCP server and its worse selves.

use super::*;
use crate::fixture::shape::{assert_timestamp, fields};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Registers `path` of the MCP server, with a secret or without, and tests it.
async fn tested(caller: &Caller, mention: &str, path: &str, auth: Option<(&str, &str)>) -> Value {
    let mut new = body(mention, &at(path));
    if let Some((kind, secret)) = auth {
        new["authType"] = kind.into();
        new["secret"] = secret.into();
    }
    let made = register(caller, new).await;
    let found = test(caller, &made).await;
    let listed = listed(caller, &made).await;
    assert_eq!(listed["health"], found["health"], "what was found is stored");
    assert_timestamp(&listed["lastCheckedAt"]);
    found
}

#[tokio::test]
async fn a_server_that_works_tells_who_it_is_and_how_many_tools_it_has() {
    let (_server, org) = start().await;
    for (mention, path) in [("events", "/mcp"), ("json", "/json")] {
        let found = tested(&org.owner, mention, path, None).await;
        let expected = ["error", "health", "latencyMs", "ok", "serverInfo", "toolCount"];
        assert_eq!(fields(&found), expected);
        assert_eq!(found["ok"], true, "{found}");
        assert_eq!(found["health"], "HEALTHY");
        assert_eq!(found["error"], Value::Null);
        assert!(found["latencyMs"].as_u64().is_some_and(|ms| ms < 10_000), "{found}");
        assert_eq!(found["serverInfo"]["protocolVersion"], "2025-11-25");
        let tools = if path == "/mcp" { json!(3) } else { json!(0) };
        assert_eq!(found["toolCount"], tools);
        assert_eq!(found["serverInfo"]["name"], "fixture");
        assert_eq!(found["serverInfo"]["version"], "1.2.3");
    }
}

#[tokio::test]
async fn the_secret_opens_what_is_closed_without_it() {
    let (_server, org) = start().await;
    for (mention, path, auth, ok) in [
        ("a", "/bearer", Some(("BEARER", "s3cret")), true),
        ("b", "/bearer", Some(("BEARER", "wrong")), false),
        ("c", "/bearer", None, false),
        ("d", "/api-key", Some(("API_KEY", "X-Api-Key:s3cret")), true),
        ("e", "/api-key", Some(("API_KEY", "x-api-key: s3cret")), true),
        ("f", "/api-key", Some(("API_KEY", "X-Other:s3cret")), false),
        ("g", "/api-key", Some(("BEARER", "s3cret")), false),
    ] {
        let found = tested(&org.owner, mention, path, auth).await;
        assert_eq!(found["ok"], ok, "{mention}: {found}");
        if !ok {
            assert_eq!(found["error"]["code"], "unauthorized");
            assert_eq!(found["health"], "DEGRADED");
        }
    }
}

#[tokio::test]
async fn every_failure_has_its_own_code_and_repeats_nothing_that_was_answered() {
    let (_server, org) = start().await;
    let auth = Some(("BEARER", "s3cret"));
    for (path, code, health) in [
        ("/status/401", "unauthorized", "DEGRADED"),
        ("/status/403", "unauthorized", "DEGRADED"),
        ("/status/400", "http_status", "DEGRADED"),
        ("/status/404", "http_status", "DEGRADED"),
        ("/status/429", "http_status", "DEGRADED"),
        ("/status/500", "http_status", "DEGRADED"),
        ("/status/503", "http_status", "DEGRADED"),
        ("/status/301", "redirect_refused", "DEGRADED"),
        ("/redirect", "redirect_refused", "DEGRADED"),
        ("/huge", "response_too_large", "DEGRADED"),
        ("/huge-chunked", "response_too_large", "DEGRADED"),
        ("/huge-events", "response_too_large", "DEGRADED"),
        ("/garbage", "protocol_error", "DEGRADED"),
        ("/html", "protocol_error", "DEGRADED"),
        ("/jsonrpc", "protocol_error", "DEGRADED"),
        ("/compressed", "protocol_error", "DEGRADED"),
        ("/endless", "protocol_error", "DEGRADED"),
        ("/broken", "connect_failed", "UNREACHABLE"),
    ] {
        let mention = path.trim_start_matches('/').replace('/', "-");
        let found = tested(&org.owner, &mention, path, auth).await;
        println!("{path:<14} {:<20} {}", found["error"]["code"], found["error"]["message"]);
        assert_eq!(found["ok"], false, "{path}: {found}");
        assert_eq!(found["error"]["code"], code, "{path}: {found}");
        assert_eq!(found["health"], health, "{path}: {found}");
        assert_eq!(fields(&found["error"]), ["code", "message"]);
        assert_eq!((&found["serverInfo"], &found["toolCount"]), (&Value::Null, &Value::Null));
        for said in ["s3cret", "Welcome", "no such method", "what?"] {
            assert!(!found.to_string().contains(said), "{path}: {found}");
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_too_long_is_given_up() {
    let mut options = options(&format!("127.0.0.1:{}", upstream()));
    options.outbound.deadline = Duration::from_millis(400);
    let server = Server::with(options).await;
    let owner = server.org("acme").await.owner;
    for (mention, path) in [("slow", "/slow"), ("drip", "/drip")] {
        let found = tested(&owner, mention, path, None).await;
        assert_eq!(found["error"]["code"], "timeout", "{found}");
        assert_eq!(found["health"], "UNREACHABLE");
        let took = found["latencyMs"].as_u64().expect("a number");
        assert!((400..5_000).contains(&took), "{found}");
    }
}

#[tokio::test]
async fn nobody_who_listens_is_told_from_nobody_at_all() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    let server = Server::with(options("127.0.0.1")).await;
    let owner = server.org("acme").await.owner;
    let made = register(&owner, body("closed", &format!("http://{closed}/mcp"))).await;
    let found = test(&owner, &made).await;
    assert_eq!(found["error"]["code"], "connect_failed", "{found}");
    assert_eq!(found["health"], "UNREACHABLE");
}

/// A certificate that nobody has signed, and a listener that shows it.
async fn self_signed() -> u16 {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = params.self_signed(&key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let _ = acceptor.accept(connection).await;
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_that_nobody_knows_is_not_accepted_even_from_a_listed_host() {
    let server = Server::with(options("127.0.0.1")).await;
    let owner = server.org("acme").await.owner;
    let endpoint = format!("https://127.0.0.1:{}/mcp", self_signed().await);
    let made = register(&owner, body("self-signed", &endpoint)).await;
    let found = test(&owner, &made).await;
    assert_eq!(found["error"]["code"], "tls_failed", "{found}");
    assert_eq!(found["health"], "UNREACHABLE");
    // and neither is a server that does not speak TLS
    let plain = format!("https://127.0.0.1:{}/mcp", upstream());
    let made = register(&owner, body("plain", &plain)).await;
    assert_eq!(test(&owner, &made).await["error"]["code"], "tls_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_database_connection_waits_for_somebody_else() {
    let options = Options { pool_size: 1, ..options(&format!("127.0.0.1:{}", upstream())) };
    let server = Server::with(options).await;
    let owner = server.org("acme").await.owner;
    let made = register(&owner, body("slow", &at("/slow"))).await;
    let path = format!("{}/test-connection", path(&made));
    let slow = tokio::spawn({
        let (owner, path) = (owner.clone(), path.clone());
        async move { owner.post_empty(&path).await }
    });
    // the one connection is free while the server waits, for whatever else there is to do
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        owner.get("/mcp/servers").await.data(200);
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "they waited");
    // and what is removed meanwhile is no error
    assert_eq!(owner.delete(&self::path(&made)).await.status, 204);
    assert!(!slow.is_finished());
    let found = slow.await.expect("no panic").data(200);
    assert_eq!(found["error"]["code"], "timeout");
    assert_eq!(rows(&server, "mcp_servers").await, 0);
}

#[tokio::test]
async fn a_repeated_test_is_answered_as_the_first_and_calls_nobody() {
    let peer = Peer::start("mcp_server", &[]);
    let server = Server::with(options(&format!("127.0.0.1:{}", peer.port))).await;
    without_background_checks(&server).await;
    let owner = server.org("acme").await.owner;
    let url = format!("http://127.0.0.1:{}", peer.port);
    let made = register(&owner, body("deploys", &format!("{url}/status/500"))).await;
    let path = format!("{}/test-connection", path(&made));
    let once = || {
        let request = owner.request(http::Method::POST, &path).header("Idempotency-Key", "once");
        crate::fixture::Answer::of(request)
    };
    let first = once().await;
    let second = once().await;
    assert_eq!(first.status, 200);
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!(second.text, first.text);
    let count = async || -> u32 {
        let answer = owner.http.get(format!("{url}/count")).send().await.expect("an answer");
        answer.text().await.expect("text").parse().expect("a number")
    };
    assert_eq!(count().await, 1);
    // without a key, it is called again
    test(&owner, &made).await;
    assert_eq!(count().await, 2);
}

#[tokio::test]
async fn a_secret_under_another_key_is_named_and_nobody_is_called() {
    let peer = Peer::start("mcp_server", &[]);
    let listed = format!("127.0.0.1:{}", peer.port);
    let with_key = |key: &'static [u8]| Options { vault_key: Some(key), ..options(&listed) };
    let server = Server::with(with_key(b"one")).await;
    without_background_checks(&server).await;
    let owner = server.org("acme").await.owner;
    let mut new = body("deploys", &format!("http://{listed}/bearer"));
    new["authType"] = "BEARER".into();
    new["secret"] = "s3cret".into();
    let made = register(&owner, new).await;
    assert_eq!(test(&owner, &made).await["ok"], true);
    let count = async || -> u32 {
        let answer = owner.http.get(format!("http://{listed}/count")).send().await.expect("sent");
        answer.text().await.expect("text").parse().expect("a number")
    };
    let before = count().await;
    let beside = server.beside(with_key(b"two")).await;
    let found = test(&owner.at(&beside.url), &made).await;
    assert_eq!(found["error"]["code"], "secret_unreadable", "{found}");
    assert_eq!(found["health"], "UNREACHABLE");
    assert_eq!(listed_health(&owner, &made).await, "UNREACHABLE");
    assert!(count().await <= before + 1, "only a session may have been ended meanwhile");
}

async fn listed_health(caller: &Caller, made: &Value) -> String {
    listed(caller, made).await["health"].as_str().expect("a text").to_owned()
}
