//! Lists that answer with more than a page.

use crate::fixture::shape::{each, issues};
use crate::fixture::{Caller, Options, Org, Server, embedders};
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Rows that are made by SQL: too many for the API's limits.
async fn filled(server: &Server, org: &Org, space: &str, sql: &str) {
    let owner = org.owner.user_id.as_str();
    let sql = sql.replace("{org}", org.id.as_str()).replace("{owner}", owner);
    let sql = sql.replace("{space}", space);
    server.sql().await.batch_execute(&sql).await.expect("filled");
}

async fn start() -> (Server, Org, String) {
    let options = Options { embedder: embedders::none(), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await["id"].as_str().expect("an id").to_owned();
    (server, org, space)
}

/// Follows a list to its end; returns what names its rows, page by page.
async fn pages(by: &Caller, path: &str, rows: &str, field: &str, limit: u32) -> Vec<Vec<String>> {
    let mut all = Vec::<Vec<String>>::new();
    let mut place = format!("{path}?limit={limit}");
    loop {
        let answer = by.get(&place).await;
        // 4 MiB of texts, and what JSON adds
        assert!(answer.text.len() < 6 << 20, "{} bytes", answer.text.len());
        let data = answer.data(200);
        let ids: Vec<String> = each(&data[rows], field).into_iter().map(str::to_owned).collect();
        let Some(last) = ids.last().cloned() else { return all };
        all.push(ids);
        let seen: usize = all.iter().map(Vec::len).sum();
        if seen as u64 >= data["total"].as_u64().expect("a total") {
            return all;
        }
        place = format!("{path}?limit={limit}&before={last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_answers_more_than_a_thousand_rows() {
    let (server, org, space) = start().await;
    // many of the same moment, so that ids must break ties
    filled(
        &server,
        &org,
        &space,
        "INSERT INTO sessions (id, org_id, space_id, title, created_by_user_id, updated_at)
            SELECT 'c' || lpad(n::text, 24, '0'), '{org}', '{space}', 'x', '{owner}',
                '2026-01-01Z'::timestamptz + (n / 7) * interval '1 second'
            FROM generate_series(1, 2300) n;
        INSERT INTO api_keys (id, org_id, user_id, name, prefix, digest, scopes, created_at)
            SELECT 'c' || lpad(n::text, 24, '0'), '{org}', '{owner}', 'x', 'sk_live_xxxx',
                decode(lpad(n::text, 64, '0'), 'hex'), '{}',
                '2026-01-01Z'::timestamptz + (n / 7) * interval '1 second'
            FROM generate_series(1, 2300) n;
        INSERT INTO users (id, email, name)
            SELECT 'c' || lpad(n::text, 24, '0'), n || '@example.com',
                CASE n % 3 WHEN 0 THEN 'Name ' || n / 7 END FROM generate_series(1, 2300) n;
        INSERT INTO members (org_id, user_id, role)
            SELECT '{org}', 'c' || lpad(n::text, 24, '0'),
                (ARRAY['OWNER', 'ADMIN', 'MEMBER'])[1 + n % 3] FROM generate_series(1, 2300) n;
        INSERT INTO space_members (org_id, space_id, user_id, role, joined_at)
            SELECT '{org}', '{space}', 'c' || lpad(n::text, 24, '0'), 'MEMBER',
                now() + (n / 7) * interval '1 second' FROM generate_series(1, 2300) n;
        INSERT INTO invitations
                (id, org_id, email, role, digest, invited_by_user_id, created_at, expires_at)
            SELECT 'c' || lpad(n::text, 24, '0'), '{org}', n || '@example.org', 'MEMBER',
                decode(lpad(n::text, 64, '0'), 'hex'), '{owner}',
                now() - (n / 7) * interval '1 second', now() + interval '7 days'
            FROM generate_series(1, 2300) n;
        INSERT INTO mcp_servers (id, org_id, display_name, mention_slug, endpoint_url, auth_type)
            SELECT 'c' || lpad(n::text, 24, '0'), '{org}', 'Name ' || n / 7, 'm' || n,
                'https://example.com', 'NONE' FROM generate_series(1, 2300) n;",
    )
    .await;
    let (members, invitations) =
        (format!("/org/{}/members", org.id), format!("/org/{}/invitations", org.id));
    let space_members = format!("/projects/{space}/members");
    for (path, rows, field, total) in [
        ("/spaces/team/sessions", "sessions", "id", 2_300),
        // the owner's own
        ("/keys", "keys", "id", 2_301),
        (&*members, "members", "userId", 2_301),
        (&*space_members, "members", "userId", 2_301),
        (&*invitations, "invitations", "id", 2_300),
        ("/mcp/servers", "servers", "id", 2_300),
        ("/spaces/team/mcps", "servers", "id", 2_300),
    ] {
        let whole = org.owner.get(path).await.data(200);
        assert_eq!(whole["total"], total, "{path}");
        let first: Vec<_> = each(&whole[rows], field).into_iter().map(str::to_owned).collect();
        assert_eq!(first.len(), 1_000, "{path}");
        let paged = pages(&org.owner, path, rows, field, 1_000).await;
        assert_eq!(paged.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, total - 2_000]);
        assert_eq!(paged[0], first, "{path}");
        let smaller = pages(&org.owner, path, rows, field, 770).await;
        assert_eq!(smaller.concat(), paged.concat(), "{path}: the order is one");
        let once: BTreeSet<&String> = paged.iter().flatten().collect();
        assert_eq!(once.len(), total, "{path}: nothing twice, and nothing left out");

        let at = |query: &str| format!("{path}?{query}");
        for limit in ["0", "1001", "-1", "x"] {
            let refused = org.owner.get(&at(&format!("limit={limit}"))).await;
            assert_eq!(issues(&refused), ["query.limit"], "{path}");
        }
        assert_eq!(issues(&org.owner.get(&at("before=x")).await), ["query.before"], "{path}");
        let nobody = format!("before=c{}", "z".repeat(24));
        org.owner.get(&at(&nobody)).await.fails(404, "NOT_FOUND");
        let last = paged.concat().pop().expect("a last one");
        let after = org.owner.get(&at(&format!("before={last}"))).await.data(200);
        assert_eq!((&after[rows], &after["total"]), (&json!([]), &json!(total)), "{path}");
    }

    // and the typed client follows them
    let client = org.owner.client();
    let sessions: Vec<_> =
        client.sessions("team").list().stream().try_collect().await.expect("sessions");
    assert_eq!(sessions.len(), 2_300);
    let listed = client.members(org.id.as_str()).list().limit(1_000).stream();
    assert_eq!(listed.try_collect::<Vec<_>>().await.expect("members").len(), 2_301);
    let raw = client.keys().list().limit(900).raw_all().await.expect("keys");
    assert_eq!(raw["keys"].as_array().map(Vec::len), Some(2_301));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_with_much_to_them_make_a_page_shorter() {
    let (server, org, space) = start().await;
    // labels as large as they can be: half a megabyte each, next to nothing on disk
    filled(
        &server,
        &org,
        &space,
        "INSERT INTO sessions (id, org_id, space_id, title, created_by_user_id, labels)
            SELECT 'c' || lpad(n::text, 24, '0'), '{org}', '{space}', 'x', '{owner}',
                (SELECT jsonb_object_agg('key' || k, values) FROM generate_series(1, 32) k,
                    (SELECT jsonb_agg(repeat('ü', 240) || v) AS values
                    FROM generate_series(1, 16) v) v)
            FROM generate_series(1, 40) n",
    )
    .await;
    let paged = pages(&org.owner, "/spaces/team/sessions", "sessions", "id", 1_000).await;
    assert!(paged.len() > 2 && paged.iter().all(|page| page.len() < 20), "{}", paged.len());
    assert_eq!(paged.concat().into_iter().collect::<BTreeSet<_>>().len(), 40);
    let client = org.owner.client();
    let all: Vec<_> = client.sessions("team").list().stream().try_collect().await.expect("all");
    assert_eq!(all.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_a_list_is_one_that_the_caller_can_see() {
    let (server, org, space) = start().await;
    let eve = server.member(&org, "eve", switchy_server::auth::OrgRole::Member).await;
    eve.space("Hers").await;
    let foreign = server.org("globex").await;
    let made = eve.post("/spaces/hers/sessions", json!({ "name": "x" })).await.data(201);
    let theirs: Value = foreign.owner.get("/keys").await.data(200);
    let gone = |answer: &crate::fixture::Answer| answer.fails(404, "NOT_FOUND")["message"].clone();
    let nothing = format!("c{}", "z".repeat(24));
    for (path, there) in [
        ("/spaces/team/sessions".to_owned(), made["session"]["id"].clone()),
        ("/keys".to_owned(), theirs["keys"][0]["id"].clone()),
        (format!("/org/{}/members", org.id), json!(foreign.owner.user_id.as_str())),
        (format!("/projects/{space}/members"), json!(eve.user_id.as_str())),
    ] {
        let there = there.as_str().expect("an id");
        let invisible = org.owner.get(&format!("{path}?before={there}")).await;
        let absent = org.owner.get(&format!("{path}?before={nothing}")).await;
        assert_eq!(gone(&invisible), gone(&absent), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spaces_of_somebody_who_is_in_thousands_are_the_first() {
    let (server, org, space) = start().await;
    filled(
        &server,
        &org,
        &space,
        "INSERT INTO spaces (id, org_id, slug, name, created_by_user_id)
            SELECT 'c' || lpad(n::text, 24, '0'), '{org}', 's' || n, 'Space ' || n, '{owner}'
            FROM generate_series(1, 1500) n;
        INSERT INTO space_members (org_id, space_id, user_id, role)
            SELECT '{org}', 'c' || lpad(n::text, 24, '0'), '{owner}', 'OWNER'
            FROM generate_series(1, 1500) n",
    )
    .await;
    let me = org.owner.get("/me").await.data(200);
    assert_eq!(me["spaces"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(org.owner.get("/projects?limit=1").await.data(200)["total"], 1_501);
}
