//! The checks that nobody asks for.

use super::*;
use chrono::TimeDelta;
use std::time::Duration;
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::mcp::client::Upstreams;
use switchy_server::mcp::health::round;
use switchy_server::store::vault::Vault;

/// A server whose clock stands still, and what its background checks with.
async fn start_at_will() -> (Server, Org, ManualClock, Upstreams, Vault) {
    let clock = ManualClock::starting_at(chrono::Utc::now());
    let listed = format!("127.0.0.1:{}", upstream());
    let options = Options { clock: Clock::Manual(clock.clone()), ..options(&listed) };
    let upstreams = Upstreams::new(options.outbound.clone()).expect("HTTP");
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let vault = Vault::of_database(&server.store).await.expect("a vault");
    (server, org, clock, upstreams, vault)
}

#[tokio::test]
async fn every_organizations_servers_are_checked_every_ten_minutes() {
    let (server, org, clock, upstreams, vault) = start_at_will().await;
    let other = server.org("other").await;
    let well = register(&org.owner, body("well", &at("/mcp"))).await;
    let mut new = body("closed", &at("/bearer"));
    new["authType"] = "BEARER".into();
    new["secret"] = "s3cret".into();
    let closed = register(&other.owner, new).await;
    let ill = register(&other.owner, body("ill", &at("/status/500"))).await;

    assert_eq!(round(&server.store, &upstreams, &vault).await.expect("checked"), 3);
    for (caller, made, health) in [
        (&org.owner, &well, "HEALTHY"),
        (&other.owner, &closed, "HEALTHY"),
        (&other.owner, &ill, "DEGRADED"),
    ] {
        let listed = listed(caller, made).await;
        assert_eq!(listed["health"], health, "{listed}");
        assert!(listed["lastCheckedAt"].is_string());
    }
    // not again before nine minutes, and surely after eleven
    clock.advance(TimeDelta::seconds(539));
    assert_eq!(round(&server.store, &upstreams, &vault).await.expect("checked"), 0);
    clock.advance(TimeDelta::seconds(122));
    assert_eq!(round(&server.store, &upstreams, &vault).await.expect("checked"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_share_a_database_share_the_checks() {
    let (server, org, _clock, upstreams, vault) = start_at_will().await;
    for i in 0..40 {
        register(&org.owner, body(&format!("m{i}"), &at("/status/500"))).await;
    }
    let rounds = (0..4).map(|_| round(&server.store, &upstreams, &vault));
    let checked: usize =
        futures::future::join_all(rounds).await.into_iter().map(|n| n.expect("checked")).sum();
    assert_eq!(checked, 40, "each is checked by one");
    let unknown = "SELECT count(*) FROM mcp_servers WHERE health <> 'DEGRADED'";
    let row = server.sql().await.query_one(unknown, &[]).await.expect("counted");
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_removed_while_it_is_checked_is_no_error() {
    let (server, org, _clock, _, vault) = start_at_will().await;
    let made = register(&org.owner, body("slow", &at("/slow"))).await;
    let listed = options(&format!("127.0.0.1:{}", upstream())).outbound;
    let outbound = Outbound { deadline: Duration::from_secs(2), ..listed };
    let upstreams = Upstreams::new(outbound).expect("HTTP");
    let checking = tokio::spawn({
        let store = server.store.clone();
        async move { round(&store, &upstreams, &vault).await }
    });
    let claimed = "SELECT count(*) FROM mcp_servers WHERE next_check_at > created_at";
    let sql = server.sql().await;
    while sql.query_one(claimed, &[]).await.expect("counted").get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(org.owner.delete(&path(&made)).await.status, 204);
    assert_eq!(checking.await.expect("no panic").expect("checked"), 1);
    assert_eq!(rows(&server, "mcp_servers").await, 0);
}

#[tokio::test]
async fn the_guard_holds_for_background_checks_too() {
    let (server, org, _clock, _, vault) = start_at_will().await;
    let made = register(&org.owner, body("deploys", &at("/mcp"))).await;
    let strict = Upstreams::new(options("").outbound).expect("HTTP");
    assert_eq!(round(&server.store, &strict, &vault).await.expect("checked"), 1);
    assert_eq!(listed(&org.owner, &made).await["health"], "UNREACHABLE");
}
