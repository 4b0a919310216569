//! Whom the server never talks to.

use super::*;
use crate::fixture::shape::issues;
use std::sync::atomic::{AtomicUsize, Ordering};
use switchy_server::mcp::guard::address;
use tokio::net::TcpListener;

/// Something on this machine that counts who connects to it, and answers nobody.
async fn trap() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (port, count)
}

/// The codes of what is wrong with `endpointUrl`.
async fn refusals(caller: &Caller, endpoint: &str) -> Vec<String> {
    let answer = caller.post("/mcp/servers", body("m", endpoint)).await;
    let paths = issues(&answer);
    assert!(paths.iter().all(|path| path == "endpointUrl"), "{}", answer.text);
    let errors = answer.body["error"]["details"]["errors"].as_array().expect("errors").iter();
    errors.map(|e| e["code"].as_str().expect("a code").to_owned()).collect()
}

#[tokio::test]
async fn every_refused_network_is_refused_at_registration() {
    let server = Server::with(options("")).await;
    let owner = server.org("acme").await.owner;
    println!("{:<34} {:<24} why", "endpoint", "refused as");
    for network in address::FORBIDDEN {
        let endpoint = match network.base {
            IpAddr::V4(v4) => format!("https://{v4}/mcp"),
            IpAddr::V6(v6) => format!("https://[{v6}]/mcp"),
        };
        let codes = refusals(&owner, &endpoint).await;
        println!("{endpoint:<34} {:<24} {} ({network})", codes.join(", "), network.what);
        assert_eq!(codes, ["address_forbidden"], "{endpoint}");
    }
    for (endpoint, codes) in [
        ("https://2130706433/", &["address_forbidden"][..]),
        ("https://0177.0.0.1/", &["address_forbidden"]),
        ("https://0x7f.1/", &["address_forbidden"]),
        ("https://127.1/", &["address_forbidden"]),
        ("https://１２７.０.０.１/", &["address_forbidden"]),
        ("https://localhost/", &["address_forbidden"]),
        ("https://LOCALHOST./", &["address_forbidden"]),
        ("https://a.localhost/", &["address_forbidden"]),
        ("https://db.internal/", &["address_forbidden"]),
        ("https://printer.local/", &["address_forbidden"]),
        ("https://router.home.arpa/", &["address_forbidden"]),
        ("https://metadata.google.internal/", &["address_forbidden"]),
        ("https://postgres/", &["address_forbidden"]),
        ("http://mcp.example.com/", &["invalid"]),
        ("https://mcp.example.com:22/", &["invalid"]),
        ("https://user:word@mcp.example.com/", &["invalid"]),
        ("https://mcp.example.com/#x", &["invalid"]),
        ("http://127.0.0.1:22/", &["invalid", "address_forbidden"]),
        ("https://localhost:22/", &["invalid", "address_forbidden"]),
    ] {
        let found = refusals(&owner, endpoint).await;
        println!("{endpoint:<34} {}", found.join(", "));
        assert_eq!(found, codes, "{endpoint}");
    }
    assert_eq!(rows(&server, "mcp_servers").await, 0);
}

#[tokio::test]
async fn what_a_name_leads_to_is_looked_at_when_it_is_registered() {
    for (addresses, code) in [
        (&[][..], "dns_failed"),
        (&["127.0.0.1"], "address_forbidden"),
        (&[PUBLIC, "10.0.0.1"], "address_forbidden"),
        (&["2606:4700:4700::1111", "::1"], "address_forbidden"),
        (&["::ffff:169.254.169.254"], "address_forbidden"),
        (&["64:ff9b::a9fe:a9fe"], "address_forbidden"),
    ] {
        let server = Server::with(options_with("", Names::answering(&[addresses]))).await;
        let owner = server.org("acme").await.owner;
        assert_eq!(refusals(&owner, ENDPOINT).await, [code], "{addresses:?}");
        // nobody learns what is inside
        let answer = owner.post("/mcp/servers", body("m", ENDPOINT)).await;
        assert!(addresses.iter().all(|a| !answer.text.contains(a)), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_when_it_is_called_is_not_connected_to() {
    let (port, connections) = trap().await;
    for later in [&["127.0.0.1"][..], &[PUBLIC, "127.0.0.1"], &["::ffff:127.0.0.1"]] {
        let server = Server::with(options_with("", Names::answering(&[&[PUBLIC], later]))).await;
        let owner = server.org("acme").await.owner;
        let endpoint = format!("https://mcp.example.com:{port}/mcp");
        let made = register(&owner, body("deploys", &endpoint)).await;
        let found = test(&owner, &made).await;
        assert_eq!(found["error"]["code"], "address_forbidden", "{found}");
        assert_eq!((&found["ok"], &found["health"]), (&json!(false), &json!("UNREACHABLE")));
        assert!(!found.to_string().contains("127.0.0.1"), "{found}");
    }
    let server = Server::with(options_with("", Names::answering(&[&[PUBLIC], &[]]))).await;
    let owner = server.org("acme").await.owner;
    let made = register(&owner, body("deploys", ENDPOINT)).await;
    assert_eq!(test(&owner, &made).await["error"]["code"], "dns_failed");
    assert_eq!(connections.load(Ordering::SeqCst), 0, "somebody connected");
}

#[tokio::test]
async fn an_address_that_is_allowed_no_longer_is_not_connected_to() {
    let (port, connections) = trap().await;
    let listed = format!("127.0.0.1:{port}");
    let server = Server::with(options(&listed)).await;
    without_background_checks(&server).await;
    let owner = server.org("acme").await.owner;
    let plain = register(&owner, body("a", &format!("http://{listed}/mcp"))).await;
    let secure = register(&owner, body("b", &format!("https://{listed}/mcp"))).await;
    let beside = server.beside(options("")).await;
    let strict = owner.at(&beside.url);
    for made in [&plain, &secure] {
        assert_eq!(test(&strict, made).await["error"]["code"], "address_forbidden");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0, "somebody connected");
    // where it is allowed, it is
    assert_eq!(test(&owner, &plain).await["error"]["code"], "connect_failed");
    assert!(connections.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn for_a_listed_host_no_address_rule_holds_and_all_others_do() {
    let (server, org) = start().await;
    let made = register(&org.owner, body("mcp", &at("/mcp"))).await;
    assert_eq!(test(&org.owner, &made).await["ok"], true);
    // the same host at another port, and the same machine by another name
    let other = format!("http://127.0.0.1:{}/mcp", upstream() ^ 1);
    assert_eq!(refusals(&org.owner, &other).await, ["invalid", "address_forbidden"]);
    let name = format!("http://localhost:{}/mcp", upstream());
    assert_eq!(refusals(&org.owner, &name).await, ["invalid", "address_forbidden"]);
    let user = format!("http://a@127.0.0.1:{}/mcp", upstream());
    assert_eq!(refusals(&org.owner, &user).await, ["invalid"]);
    for (path, code) in [("/redirect", "redirect_refused"), ("/huge", "response_too_large")] {
        let made = register(&org.owner, body(&path[1..], &at(path))).await;
        assert_eq!(test(&org.owner, &made).await["error"]["code"], code, "{path}");
    }
    drop(server);
}

#[tokio::test]
async fn a_listed_name_may_lead_inside() {
    let (port, connections) = trap().await;
    let names = Names::answering(&[&["127.0.0.1"]]);
    let listed = format!("tools.internal:{port}");
    let server = Server::with(options_with(&listed, names)).await;
    let owner = server.org("acme").await.owner;
    let made = register(&owner, body("tools", &format!("http://{listed}/mcp"))).await;
    assert_eq!(test(&owner, &made).await["error"]["code"], "connect_failed");
    assert!(connections.load(Ordering::SeqCst) > 0);
    assert_eq!(refusals(&owner, "https://other.internal/mcp").await, ["address_forbidden"]);
    assert_eq!(refusals(&owner, ENDPOINT).await, ["address_forbidden"]);
}
