//! Two layers between organizations, each of which holds alone.

use super::*;
use crate::fixture::shape::{each, id};
use switchy_server::auth::OrgRole;

/// Two organizations, each with a Space `team` that uses an integration with a secret.
async fn two() -> (Server, [(Org, Value, Value); 2]) {
    let (server, acme) = start().await;
    let other = server.org("other").await;
    let mut all = Vec::new();
    for org in [acme, other] {
        let space = org.owner.space("Team").await;
        let mut new = body("deploys", ENDPOINT);
        new["authType"] = "BEARER".into();
        new["secret"] = "abc".into();
        let made = register(&org.owner, new).await;
        let bound = format!("/spaces/team/mcps/{}", id(&made));
        assert_eq!(org.owner.put(&bound).await.status, 204);
        all.push((org, space, made));
    }
    let all: [_; 2] = all.try_into().unwrap_or_else(|_| panic!("two"));
    (server, all)
}

/// A connection with the rights of a request of that caller.
async fn as_app(server: &Server, caller: &Caller) -> tokio_postgres::Client {
    let client = server.sql().await;
    client.batch_execute("SET ROLE switchy_app").await.expect("the role");
    let set = "SELECT set_config('switchy.org_id', $1, false), \
               set_config('switchy.user_id', $2, false)";
    let (org, user) = (caller.org_id.as_str(), caller.user_id.as_str());
    client.execute(set, &[&org, &user]).await.expect("set");
    client
}

#[tokio::test]
async fn the_predicates_hold_without_row_level_security() {
    let (server, [(acme, ..), (_, _, theirs)]) = two().await;
    let sql = server.sql().await;
    for table in ["mcp_servers", "space_mcp_servers", "vault_secrets"] {
        let off =
            format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY");
        sql.batch_execute(&off).await.expect("off");
    }
    let data = acme.owner.get("/mcp/servers").await.data(200);
    assert_eq!(each(&data["servers"], "organizationId"), [acme.id.as_str()]);
    let data = acme.owner.get("/spaces/team/mcps").await.data(200);
    assert_eq!(each(&data["servers"], "organizationId"), [acme.id.as_str()]);
    let bound = format!("/spaces/team/mcps/{}", id(&theirs));
    acme.owner.delete(&path(&theirs)).await.fails(404, "NOT_FOUND");
    acme.owner.put(&bound).await.fails(404, "NOT_FOUND");
    acme.owner.delete(&bound).await.fails(404, "NOT_FOUND");
    let tested = format!("{}/test-connection", path(&theirs));
    acme.owner.post_empty(&tested).await.fails(404, "NOT_FOUND");
    assert_eq!(rows(&server, "space_mcp_servers").await, 2);
    assert_eq!(rows(&server, "mcp_servers").await, 2);
}

#[tokio::test]
async fn row_level_security_holds_without_the_predicates() {
    let (server, [(acme, space, made), (other, their_space, theirs)]) = two().await;
    let eve = server.member(&acme, "eve", OrgRole::Member).await;
    let column = async |app: &tokio_postgres::Client, sql: &str| -> Vec<String> {
        let rows = app.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    };
    let (servers, bindings) =
        ("SELECT id FROM mcp_servers", "SELECT server_id FROM space_mcp_servers");
    let owner = as_app(&server, &acme.owner).await;
    assert_eq!(column(&owner, servers).await, [id(&made)]);
    assert_eq!(column(&owner, bindings).await, [id(&made)]);
    let app = as_app(&server, &eve).await;
    assert_eq!(column(&app, servers).await, [id(&made)]);
    assert!(column(&app, bindings).await.is_empty(), "eve is in no Space");

    // secrets are read one at a time, and only by those who may have the server called
    for app in [&owner, &app] {
        let refused = app.query("SELECT id FROM vault_secrets", &[]).await.expect_err("refused");
        let code = refused.code().expect("a code").code();
        assert_eq!(code, "42501", "{refused:?}");
    }
    let secret = "SELECT id FROM mcp_server_secret($1)";
    assert_eq!(owner.query(secret, &[&id(&made)]).await.expect("read").len(), 1);
    assert_eq!(owner.query(secret, &[&id(&theirs)]).await.expect("read").len(), 0);
    assert_eq!(app.query(secret, &[&id(&made)]).await.expect("read").len(), 0);

    // nothing of another organization changes, and nothing of one's own without the role
    let viewer = server.member(&acme, "vic", OrgRole::Member).await;
    server.admit(id(&space), &viewer, "VIEWER").await;
    let viewer = as_app(&server, &viewer).await;
    assert_eq!(column(&viewer, bindings).await, [id(&made)]);
    for (who, app) in [("owner", &owner), ("eve", &app), ("viewer", &viewer)] {
        let foreign = who == "owner";
        let (org_id, space_id, server_id) = match foreign {
            true => (other.id.as_str(), id(&their_space), id(&theirs)),
            false => (acme.id.as_str(), id(&space), id(&made)),
        };
        for sql in [
            "DELETE FROM mcp_servers WHERE org_id = $1 AND id = $2",
            "UPDATE mcp_servers SET health = 'HEALTHY' WHERE org_id = $1 AND id = $2",
            "DELETE FROM space_mcp_servers WHERE org_id = $1 AND server_id = $2",
        ] {
            let changed = app.execute(sql, &[&org_id, &server_id]).await.expect("no error");
            assert_eq!(changed, 0, "{who}: {sql}");
        }
        server
            .sql()
            .await
            .execute("DELETE FROM space_mcp_servers WHERE org_id = $1", &[&org_id])
            .await
            .expect("emptied");
        let bind =
            "INSERT INTO space_mcp_servers (org_id, space_id, server_id) VALUES ($1, $2, $3)";
        app.execute(bind, &[&org_id, &space_id, &server_id]).await.expect_err(who);
        let register = "INSERT INTO mcp_servers (id, org_id, display_name, mention_slug, \
                        endpoint_url, auth_type) VALUES ('cx', $1, 'x', 'x', 'https://x/', 'NONE')";
        app.execute(register, &[&org_id]).await.expect_err(who);
        let seal = "INSERT INTO vault_secrets (org_id, id, key_id, nonce, ciphertext) \
                    VALUES ($1, 'x', 'x', decode(repeat('00', 24), 'hex'), '')";
        app.execute(seal, &[&org_id]).await.expect_err(who);
    }
    let moved = "UPDATE mcp_servers SET endpoint_url = 'https://evil.example/' WHERE id = $1";
    owner.execute(moved, &[&id(&made)]).await.expect_err("an endpoint never changes");
}

#[tokio::test]
async fn a_secret_that_was_copied_from_another_organization_does_not_open() {
    let (server, [(acme, ..), (other, ..)]) = two().await;
    let steal = "INSERT INTO vault_secrets (org_id, id, key_id, nonce, ciphertext) \
                 SELECT $1, 'stolen', key_id, nonce, ciphertext FROM vault_secrets \
                 WHERE org_id = $2";
    let sql = server.sql().await;
    let (ours, theirs) = (acme.id.as_str(), other.id.as_str());
    sql.execute(steal, &[&ours, &theirs]).await.expect("copied");
    let refer = "UPDATE mcp_servers SET secret_id = 'stolen', endpoint_url = $2 WHERE org_id = $1";
    sql.execute(refer, &[&ours, &at("/status/200")]).await.expect("referred to");
    let data = acme.owner.get("/mcp/servers").await.data(200);
    let found = test(&acme.owner, &data["servers"][0]).await;
    assert_eq!(found["error"]["code"], "secret_unreadable", "{found}");
}
