//! Two layers say who sees and may do what: the queries' predicates with the handlers' checks, and
//! row-level security. Each is taken away here, whole and piece by piece, and the other one holds.

mod policies;

use crate::access::stage::{Seat, Stage};
use crate::access::{ORG_ROLES, SPACE_ROLES, World, golden};
use crate::fixture::{Options, Server, embedders, until_somebody_waits};
use policies::{As, PROBES, Probe};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use switchy_server::auth::OrgRole;
use tokio_postgres::error::SqlState;

/// Tables under row-level security.
const PROTECTED: &str =
    "SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = 'public'::regnamespace";

#[tokio::test(flavor = "multi_thread")]
async fn without_row_level_security_every_answer_is_the_same() {
    let world = World::new().await;
    let sql = world.server.sql().await;
    let tables = sql.query(PROTECTED, &[]).await.expect("tables");
    assert!(tables.len() >= 25, "{}", tables.len());
    for row in tables {
        let table: String = row.get(0);
        let off =
            format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY");
        sql.batch_execute(&off).await.expect("off");
    }
    let lines = world.ask_everything().await;
    let differing: Vec<_> = lines.iter().zip(golden()).filter(|(got, kept)| *got != kept).collect();
    assert!(differing.is_empty() && lines.len() == golden().len(), "{differing:#?}");
}

/// A seat for each [`As`], each with a stage of its own.
async fn seats(world: &World) -> Vec<(As, Seat<'_>)> {
    let orgs = (&world.org, &world.elsewhere);
    let mut seats = Vec::new();
    for (number, (who, roles)) in [
        (As::Stranger, (OrgRole::Member, "none")),
        (As::Viewer, (OrgRole::Member, "VIEWER")),
        (As::Editor, (OrgRole::Member, "EDITOR")),
        (As::Admin, (OrgRole::Admin, "none")),
        (As::Owner, (OrgRole::Owner, "none")),
    ]
    .into_iter()
    .enumerate()
    {
        seats.push((who, Seat::take(&world.server, orgs, number, roles).await));
    }
    seats
}

/// A statement with the ids of a stage in it.
fn filled(sql: &str, stage: &Stage, elsewhere: &str) -> String {
    let mut text = sql
        .replace("{me}", &stage.caller)
        .replace("{org}", &stage.org)
        .replace("{elsewhere}", elsewhere);
    while let Some(begin) = text.find('{') {
        let Some(length) = text[begin..].find('}').filter(|length| *length > 1) else {
            break; // an empty array
        };
        let kind = text[begin + 1..begin + length].to_owned();
        text = text.replace(&format!("{{{kind}}}"), &stage.id(&kind));
    }
    text
}

/// How many rows the statement touches as the caller; none when it is refused. `away` is what is
/// done to the policy before. Nothing of it stays.
async fn rows(
    sql: &tokio_postgres::Client,
    probe: &Probe,
    stage: &Stage,
    elsewhere: &str,
    away: &str,
) -> u64 {
    let what = format!("{}.{}", probe.table, probe.policy);
    let before = filled(probe.before, stage, elsewhere);
    sql.batch_execute(&format!("BEGIN; {before}; {away};")).await.expect(&what);
    let caller = format!(
        "SET LOCAL ROLE switchy_app; SET LOCAL switchy.org_id = '{}'; \
         SET LOCAL switchy.user_id = '{}'",
        stage.org, stage.caller
    );
    sql.batch_execute(&caller).await.expect("the role");
    let outcome = sql.execute(&filled(probe.sql, stage, elsewhere), &[]).await;
    sql.batch_execute("ROLLBACK").await.expect("undone");
    match outcome {
        Ok(rows) => rows,
        Err(error) => {
            let code = error.code().cloned();
            assert_eq!(code, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{what}: {error:?}");
            0
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_stops_something_that_no_other_policy_stops() {
    let world = World::new().await;
    world.elsewhere.owner.space("Theirs").await;
    let seats = seats(&world).await;
    let sql = world.server.sql().await;
    // which models are searched with is no tenant's, and everybody's to read
    let all = "SELECT tablename::text, policyname::text, permissive = 'RESTRICTIVE', \
               qual IS NOT NULL, with_check IS NOT NULL \
               FROM pg_policies WHERE 'switchy_app' = ANY (roles) \
               AND (tablename, policyname) <> ('search_models', 'everybody')";
    let all = sql.query(all, &[]).await.expect("policies");
    let mut untested = Vec::new();
    for row in &all {
        let (table, policy): (String, String) = (row.get(0), row.get(1));
        let probes: Vec<_> =
            PROBES.iter().filter(|p| p.table == table && p.policy == policy).collect();
        if probes.is_empty() {
            untested.push(format!("{table}.{policy}"));
        }
        let (restrictive, using, check): (bool, bool, bool) = (row.get(2), row.get(3), row.get(4));
        let away = match (restrictive, using, check) {
            (true, ..) => format!("DROP POLICY {policy} ON {table}"),
            (_, using, check) => format!(
                "ALTER POLICY {policy} ON {table} {} {}",
                if using { "USING (true)" } else { "" },
                if check { "WITH CHECK (true)" } else { "" },
            ),
        };
        for probe in probes {
            let (_, seat) = seats.iter().find(|(who, _)| *who == probe.who).expect("a seat");
            let elsewhere = world.elsewhere.id.as_str();
            let with = rows(&sql, probe, &seat.stage, elsewhere, "").await;
            let without = rows(&sql, probe, &seat.stage, elsewhere, &away).await;
            assert_eq!(with, 0, "{table}.{policy} does not stop: {}", probe.sql);
            assert!(without > 0, "it is not {table}.{policy} that stops: {}", probe.sql);
        }
    }
    assert!(untested.is_empty(), "write a probe for: {untested:?}");
    assert_eq!(all.len(), PROBES.len(), "a probe for a policy that is no more");
}

/// The predicates of `store/visibility.rs`, each with the rows that its table shows to the app role
/// with no predicate at all: kinds of the stage, by who asks.
type Shown = fn(manages: bool, inside: bool) -> Vec<&'static str>;

const SESSIONS: &[&str] = &["sown", "sownprivate", "stheirs"];

fn notes(_: bool, inside: bool) -> Vec<&'static str> {
    let mut seen = vec!["nownprivate", "nownorg", "ntheirorg"];
    if inside {
        seen.extend(["nownspace", "ntheirspace"]);
    }
    seen
}

fn sessions(_: bool, inside: bool) -> Vec<&'static str> {
    if inside { SESSIONS.to_vec() } else { Vec::new() }
}

/// Wider than the predicate: 403 must be told from 404.
fn the_space(_: bool, _: bool) -> Vec<&'static str> {
    vec!["space"]
}

const PREDICATES: &[(&str, &str, Shown)] = &[
    ("memory", "SELECT id FROM memories", notes),
    ("embedding", "SELECT memory_id FROM memory_embeddings", notes),
    ("session", "SELECT id FROM sessions", sessions),
    ("SESSION_SQL", "SELECT id FROM sessions", sessions),
    ("seen_sessions", "SELECT id FROM sessions", sessions),
    ("own_spaces", "SELECT unnest(caller_spaces())", |_, inside| {
        if inside { vec!["space"] } else { Vec::new() }
    }),
    ("space", "SELECT id FROM spaces", the_space),
    ("space_member", "SELECT space_id FROM space_members", the_space),
    ("member", "SELECT user_id FROM members", |_, _| {
        vec!["uguest", "unobody", "umember", "uadmin", "uowner"]
    }),
    ("invitation", "SELECT id FROM invitations", |manages, _| {
        if manages { vec!["invitation"] } else { Vec::new() }
    }),
    ("key", "SELECT id FROM api_keys", |manages, _| {
        if manages { vec!["kown", "ktheirs", "kacts", "kguests"] } else { vec!["kown"] }
    }),
    ("DELEGATION_SQL", "SELECT key_id FROM delegations", |_, _| vec!["kacts"]),
    ("message", "SELECT session_id FROM messages", sessions),
    ("reaction", "SELECT session_id FROM message_reactions", sessions),
    ("session_event", "SELECT session_id FROM session_events", sessions),
    ("billing", "SELECT org_id FROM billing_accounts", |_, _| Vec::new()),
    ("mcp_server", "SELECT id FROM mcp_servers", |_, _| vec!["mcp"]),
    ("binding", "SELECT space_id FROM space_mcp_servers", |manages, inside| {
        if manages || inside { vec!["space"] } else { Vec::new() }
    }),
];

#[test]
fn every_predicate_is_in_the_table() {
    let source = include_str!("../../server/src/store/visibility.rs");
    let names = source.lines().filter_map(|line| {
        let rest = line
            .strip_prefix("pub(super) fn ")
            .or_else(|| line.strip_prefix("fn "))
            .or_else(|| line.strip_prefix("pub(super) const "))?;
        rest.split(['<', '(', ':']).next()
    });
    let names: BTreeSet<&str> = names.collect();
    let listed: BTreeSet<&str> = PREDICATES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, listed, "say what the table shows without the predicate");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_predicates_every_table_shows_the_same() {
    let world = World::new().await;
    let sql = world.server.sql().await;
    let kinds: BTreeMap<&str, Vec<&str>> = PREDICATES
        .iter()
        .map(|(name, _, shown)| {
            let mut all = shown(true, true);
            // what nobody but its owner may see is looked for, too
            all.extend(["ntheirprivate", "shidden", "ktheirs", "kguests", "invitation"]);
            (*name, all)
        })
        .collect();
    for (number, (org_role, space_role)) in
        ORG_ROLES.iter().flat_map(|o| SPACE_ROLES.iter().map(|s| (*o, *s))).enumerate()
    {
        let orgs = (&world.org, &world.elsewhere);
        let seat = Seat::take(&world.server, orgs, number, (org_role, space_role)).await;
        let stage = &seat.stage;
        let fill = "INSERT INTO memory_embeddings SELECT id, 'm', 0, org_id, space_id, \
                        author_user_id, visibility, 0, 0, \
                        array_fill(1::real, ARRAY[384])::halfvec FROM memories \
                        ON CONFLICT DO NOTHING; \
                    INSERT INTO message_reactions SELECT org_id, session_id, id, author_user_id, \
                        'x' FROM messages ON CONFLICT DO NOTHING";
        sql.batch_execute(fill).await.expect("filled");
        let (manages, inside) = (org_role != OrgRole::Member, space_role != "none");
        for (name, select, shown) in PREDICATES {
            let caller = format!(
                "BEGIN; SET LOCAL ROLE switchy_app; SET LOCAL switchy.org_id = '{}'; \
                 SET LOCAL switchy.user_id = '{}'",
                stage.org, stage.caller
            );
            sql.batch_execute(&caller).await.expect("the role");
            let rows = sql.query(*select, &[]).await.expect(select);
            let billed = sql.query("SELECT org_id FROM billing_accounts", &[]).await.expect("read");
            sql.batch_execute("ROLLBACK").await.expect("over");
            let rows: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
            let seen: BTreeSet<&str> =
                kinds[name].iter().copied().filter(|kind| rows.contains(&stage.id(kind))).collect();
            let should: BTreeSet<&str> = shown(manages, inside).into_iter().collect();
            assert_eq!(seen, should, "{name} for {org_role}, {space_role}");
            let billed: Vec<&str> = billed.iter().map(|row| row.get(0)).collect();
            assert_eq!(billed, [stage.org.as_str()]);
        }
    }
}

/// Between the handler's look at the role and the write, somebody takes the role away: row-level
/// security notices, and the caller is told so.
#[tokio::test(flavor = "multi_thread")]
async fn who_loses_his_role_while_he_writes_is_forbidden() {
    let server = Server::with(Options { embedder: embedders::none(), ..Options::default() }).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let space = org.owner.space("Team").await;
    let space = space["id"].as_str().expect("an id");
    server.admit(space, &eve, "MEMBER").await;
    let made = org.owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session = made["session"]["id"].as_str().expect("an id").to_owned();
    let sql = server.sql().await;
    sql.batch_execute("BEGIN").await.expect("begun");
    let lock = "SELECT FROM sessions WHERE id = $1 FOR UPDATE";
    sql.execute(lock, &[&session]).await.expect("locked");
    let path = format!("/spaces/team/sessions/{session}/messages");
    let sent = {
        let (eve, path) = (eve.clone(), path.clone());
        tokio::spawn(async move { eve.post(&path, json!({ "body": "x" })).await })
    };
    until_somebody_waits(&server.sql().await).await;
    server.admit(space, &eve, "VIEWER").await;
    sql.batch_execute("COMMIT").await.expect("free");
    sent.await.expect("an answer").fails(403, "FORBIDDEN");
    assert_eq!(org.owner.get(&path).await.data(200)["total"], 0);
}
