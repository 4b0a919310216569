//! The real programs: settings, the vault's key, the command line, the typed client.

use super::*;
use crate::fixture::binary::{Ended, Home, Process, Serving};
use crate::fixture::cluster::cluster;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use secrecy::ExposeSecret;
use std::io::{Seek, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// The shared MCP server behind TLS, as a certificate authority of this test certifies it; its port
/// and the authority's certificate.
async fn behind_tls() -> (u16, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(connection).await else { return };
                let inside = TcpStream::connect(("127.0.0.1", upstream())).await;
                let _ = copy_bidirectional(&mut outside, &mut inside.expect("connected")).await;
            });
        }
    });
    (port, authority)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_server_may_have_a_certificate_of_an_authority_that_the_operator_names() {
    let (port, authority) = behind_tls().await;
    let home = Home::new();
    let file = home.folder().join("authority.pem");
    std::fs::write(&file, authority).expect("written");
    let mut command = home.serve();
    command.env("SWITCHY_MCP_ALLOW_HOSTS", "localhost, 127.0.0.1").env("SSL_CERT_FILE", &file);
    let serving = Serving::start(&mut command);
    let owner = serving.caller(&home.key());
    let made = register(&owner, body("a", &format!("https://localhost:{port}/mcp"))).await;
    let found = test(&owner, &made).await;
    assert_eq!((&found["ok"], &found["toolCount"]), (&json!(true), &json!(3)), "{found}");
    // by another name it is somebody else
    let made = register(&owner, body("b", &format!("https://127.0.0.1:{port}/mcp"))).await;
    assert_eq!(test(&owner, &made).await["error"]["code"], "tls_failed");
    end(serving);
}

/// Runs a command off this thread, with something on its standard input.
async fn run(mut command: Command, input: &str) -> Ended {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(input.as_bytes()).expect("written");
    file.rewind().expect("rewound");
    command.stdin(Stdio::from(file));
    tokio::task::spawn_blocking(move || Process::start(&mut command).wait()).await.expect("it ran")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_integrations_on_the_command_line() {
    let (server, org) = start().await;
    org.owner.space("Team").await;
    let home = Home::new();
    let on = |arguments: &[&str], input: &'static str| {
        let mut command = home.cli(arguments);
        let key = org.owner.key.as_deref().expect("a key");
        command.env("SWITCHY_URL", &server.url).env("SWITCHY_API_KEY", key);
        run(command, input)
    };
    let endpoint = at("/bearer");
    let add = [
        "mcp",
        "add",
        "Deploy tools",
        &endpoint,
        "--mention",
        "deploys",
        "--auth",
        "bearer",
        "--secret-stdin",
    ];
    let added = on(&add, "s3cret\n").await;
    assert!(!added.everything().contains("s3cret"), "{}", added.everything());
    assert!(added.ok().contains("@deploys"));
    let api_key = at("/api-key");
    let add =
        ["mcp", "add", "Key", &api_key, "--mention", "key", "--auth", "api-key", "--secret-stdin"];
    on(&add, "X-Api-Key: s3cret\n").await.ok();
    let broken = at("/status/500");
    on(&["mcp", "add", "Broken", &broken, "--mention", "broken"], "").await.ok();

    let tested = on(&["mcp", "test", "@deploys"], "").await.ok();
    assert!(tested.contains("HEALTHY") && tested.contains("fixture 1.2.3"), "{tested}");
    let tested = on(&["mcp", "test", "key", "-o", "json"], "").await.json();
    assert_eq!((&tested["ok"], &tested["toolCount"]), (&json!(true), &json!(3)));
    let failed = on(&["mcp", "test", "broken"], "").await;
    assert_eq!(failed.status.code(), Some(9), "{}", failed.stderr);
    assert!(failed.stderr.contains("http_status") && failed.stderr.contains("500"));

    on(&["mcp", "bind", "deploys", "--space", "team"], "").await.ok();
    let used = on(&["mcp", "list", "--space", "team"], "").await.ok();
    let line = used.lines().find(|line| line.starts_with("deploys")).expect("a line");
    assert!(line.contains("yes"), "{used}");
    on(&["mcp", "unbind", "deploys", "--space", "team"], "").await.ok();
    let listed = on(&["mcp", "list", "-o", "json"], "").await.json();
    assert_eq!(listed["servers"].as_array().map(Vec::len), Some(3));
    let table = on(&["mcp", "list"], "").await.ok();
    assert!(table.contains("DEGRADED") && table.contains(&endpoint), "{table}");

    on(&["mcp", "remove", "deploys", "key", "broken", "--yes"], "").await.ok();
    let gone = on(&["mcp", "remove", "deploys", "--yes"], "").await;
    assert_eq!(gone.status.code(), Some(5), "{}", gone.stderr);
    assert!(on(&["mcp", "list"], "").await.ok().contains("no integration"));
}

#[tokio::test]
async fn every_operation_has_a_method() {
    let (_server, org) = start().await;
    org.owner.space("Team").await;
    let client = org.owner.client();
    let servers = client.mcp_servers();
    let made = servers.create("Deploys", "deploys", at("/bearer")).bearer("s3cret").await;
    let made = made.expect("registered");
    let other = servers.create("Other", "other", at("/api-key")).api_key("X-Api-Key:s3cret").await;
    let other = other.expect("registered");
    for one in [&made, &other] {
        let test = servers.test(&one.id).await.expect("tested");
        assert!(test.ok && test.error.is_none(), "{test:?}");
        assert_eq!(test.tool_count, Some(3));
    }
    assert_eq!(servers.list().await.expect("listed").len(), 2);
    let space = client.space_mcps("team");
    space.bind(&made.id).await.expect("bound");
    let bound = |all: Vec<switchy::types::SpaceMcpServer>| {
        all.into_iter().filter(|s| s.bound).map(|s| s.id).collect::<Vec<_>>()
    };
    assert_eq!(bound(space.list().await.expect("listed")), std::slice::from_ref(&made.id));
    space.unbind(&made.id).await.expect("unbound");
    assert!(bound(space.list().await.expect("listed")).is_empty());
    servers.delete(&made.id).await.expect("removed");
    let gone = servers.delete(&made.id).await.expect_err("gone");
    assert_eq!(gone.code(), &switchy::ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_embedded_database_the_key_is_a_file_that_survives_a_restart() {
    let home = Home::new();
    let allowed = format!("127.0.0.1:{}", upstream());
    let start = || Serving::start(home.serve().env("SWITCHY_MCP_ALLOW_HOSTS", &allowed));
    let serving = start();
    let owner = serving.caller(&home.key());
    let mut new = body("deploys", &at("/bearer"));
    new["authType"] = "BEARER".into();
    new["secret"] = "s3cret".into();
    let made = register(&owner, new).await;
    assert_eq!(test(&owner, &made).await["ok"], true);
    let file = home.data_dir().join("vault.key");
    let mode = std::fs::metadata(&file).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read(&file).expect("the key");
    end(serving);

    let serving = start();
    let owner = serving.caller(&home.key());
    assert_eq!(test(&owner, &made).await["ok"], true);
    assert_eq!(std::fs::read(&file).expect("the key"), kept);
    end(serving);

    // without the file the secret is lost, and that is said
    std::fs::remove_file(&file).expect("removed");
    let mut serving = start();
    let owner = serving.caller(&home.key());
    let found = test(&owner, &made).await;
    assert_eq!(found["error"]["code"], "secret_unreadable", "{found}");
    assert!(serving.process.runs());
    let log = end(serving).everything();
    assert!(log.contains("encrypted under another key"), "{log}");
}

/// Stops a server and waits for it.
fn end(serving: Serving) -> Ended {
    let pid = nix::unistd::Pid::from_raw(serving.process.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a signal");
    serving.process.wait()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_one_database_share_the_vault_and_say_when_its_key_is_beside_it() {
    let home = Home::new();
    for (secret, warns) in [(None, true), (Some("an operator's secret, long enough"), false)] {
        let database = cluster().empty_database().await;
        let start = || {
            let mut command = home.serve();
            command.env_remove("SWITCHY_DATA_DIR").env("DATABASE_URL", database.expose_secret());
            if let Some(secret) = secret {
                command.env("SWITCHY_SECRET_KEY", secret);
            }
            command.env("SWITCHY_MCP_ALLOW_HOSTS", format!("127.0.0.1:{}", upstream()));
            Serving::start(&mut command)
        };
        let (one, two) = (start(), start());
        let mut command = home.server(["admin", "bootstrap", "--org", "Acme", "--email"]);
        command.args(["ada@example.com", "--output", "json"]).env_remove("SWITCHY_DATA_DIR");
        command.env("DATABASE_URL", database.expose_secret());
        if let Some(secret) = secret {
            command.env("SWITCHY_SECRET_KEY", secret);
        }
        let key = run(command, "").await.json()["apiKey"].as_str().expect("a key").to_owned();
        let mut new = body("deploys", &at("/bearer"));
        new["authType"] = "BEARER".into();
        new["secret"] = "s3cret".into();
        let made = register(&one.caller(&key), new).await;
        assert_eq!(test(&two.caller(&key), &made).await["ok"], true);
        for serving in [one, two] {
            let log = end(serving).everything();
            assert_eq!(log.contains("set SWITCHY_SECRET_KEY"), warns, "{log}");
        }
    }
}

#[test]
fn a_list_of_hosts_that_cannot_be_is_refused_by_name() {
    let home = Home::new();
    for wrong in ["http://tools.internal", "*.internal", "tools.internal:0", "a b"] {
        let ended = Ended::of(home.serve().env("SWITCHY_MCP_ALLOW_HOSTS", wrong));
        assert!(ended.usage().contains("--mcp-allow-hosts"), "{ended:?}");
        assert!(ended.usage().contains(wrong), "{ended:?}");
    }
}
