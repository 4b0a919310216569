//! Filters and highlights of `/memory/search`.

use crate::fixture::{Caller, Options, Org, Server, embedders};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use switchy_server::auth::OrgRole;

/// A note as the tests tell it apart, by its content.
struct Note {
    content: &'static str,
    visibility: &'static str,
    tags: &'static [&'static str],
    /// Day of January 2026.
    day: u32,
    by_eve: bool,
}

const fn note(
    content: &'static str,
    visibility: &'static str,
    tags: &'static [&'static str],
    day: u32,
    by_eve: bool,
) -> Note {
    Note { content, visibility, tags, day, by_eve }
}

/// Every arm of the search could find every one of them for `deploys`.
const NOTES: [Note; 8] = [
    note("deploys one", "ORG", &["ops", "red"], 1, false),
    note("deploys two", "ORG", &["ops"], 2, true),
    note("deploys three", "SPACE", &["red"], 3, false),
    note("deploys four", "SPACE", &["ops", "red"], 4, true),
    note("deploys five", "PRIVATE", &["ops"], 5, false),
    note("deploys six", "PRIVATE", &["ops", "red"], 6, true),
    note("deploys seven", "ORG", &[], 7, false),
    note("deploys eight", "ORG", &["Ops"], 8, true),
];

struct World {
    server: Server,
    org: Org,
    eve: Caller,
    space: Value,
}

/// Ada (the owner) and Eve share a Space; another organization has the same notes.
async fn world() -> World {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let space = org.owner.space("Team").await;
    server.admit(space["id"].as_str().expect("an id"), &eve, "MEMBER").await;
    let sql = server.sql().await;
    let other = server.org("other").await.owner;
    for note in &NOTES {
        let author = if note.by_eve { &eve } else { &org.owner };
        let space = if note.visibility == "SPACE" { &space["id"] } else { &Value::Null };
        let written = author
            .note(json!({ "content": note.content, "visibility": note.visibility,
                "spaceId": space, "tags": note.tags }))
            .await;
        let date = "UPDATE memories SET created_at = make_timestamptz(2026, 1, $1, 12, 0, 0, 'UTC') \
                    WHERE id = $2";
        let day = i32::try_from(note.day).expect("a day");
        sql.execute(date, &[&day, &written["id"].as_str()]).await.expect("dated");
        other
            .note(json!({ "content": note.content, "visibility": "ORG", "tags": note.tags }))
            .await;
    }
    World { server, org, eve, space }
}

async fn found(caller: &Caller, body: Value) -> BTreeSet<String> {
    let data = caller.post("/memory/search", body).await.data(200);
    let results = data["results"].as_array().expect("results").iter();
    results.map(|r| r["memory"]["content"].as_str().expect("content").to_owned()).collect()
}

fn contents(wanted: impl Fn(&Note) -> bool) -> BTreeSet<String> {
    NOTES.iter().filter(|n| wanted(n)).map(|n| n.content.to_owned()).collect()
}

#[tokio::test]
async fn every_arm_looks_at_what_passes_the_filters_alone() {
    let world = world().await;
    let (ada, eve) = (&world.org.owner, &world.eve);
    let (ada_id, eve_id) = (ada.user_id.to_string(), eve.user_id.to_string());
    let day = |day: u32| format!("2026-01-{day:02}T12:00:00Z");
    type Wanted = Box<dyn Fn(&Note) -> bool>;
    let cases: Vec<(Value, Wanted)> = vec![
        (json!({}), Box::new(|_| true)),
        (json!({ "tags": ["ops"] }), Box::new(|n| n.tags.contains(&"ops"))),
        (json!({ "tags": ["red", "ops"] }), Box::new(|n| n.tags.len() == 2)),
        (json!({ "tags": [" ops ", "ops"] }), Box::new(|n| n.tags.contains(&"ops"))),
        (json!({ "tags": ["Ops"] }), Box::new(|n| n.tags == ["Ops"])),
        (json!({ "tags": ["op"] }), Box::new(|_| false)),
        (json!({ "tags": [] }), Box::new(|_| true)),
        (json!({ "visibility": "ORG" }), Box::new(|n| n.visibility == "ORG")),
        (json!({ "visibility": "SPACE" }), Box::new(|n| n.visibility == "SPACE")),
        (json!({ "visibility": "PRIVATE" }), Box::new(|n| n.visibility == "PRIVATE")),
        (json!({ "authorUserId": ada_id }), Box::new(|n| !n.by_eve)),
        (json!({ "authorUserId": eve_id }), Box::new(|n| n.by_eve)),
        (json!({ "spaceId": world.space["id"] }), Box::new(|n| n.visibility == "SPACE")),
        (json!({ "createdAfter": day(4) }), Box::new(|n| n.day >= 4)),
        (json!({ "createdBefore": day(4) }), Box::new(|n| n.day < 4)),
        (
            json!({ "createdAfter": day(2), "createdBefore": day(7), "tags": ["ops"],
                "authorUserId": eve_id, "visibility": "ORG" }),
            Box::new(|n| n.day == 2),
        ),
        (
            json!({ "spaceId": world.space["id"], "tags": ["red"], "authorUserId": eve_id }),
            Box::new(|n| n.day == 4),
        ),
        (json!({ "spaceId": world.space["id"], "visibility": "ORG" }), Box::new(|_| false)),
        (json!({ "authorUserId": eve_id, "visibility": "PRIVATE" }), Box::new(|n| n.day == 6)),
    ];
    let words_alone =
        world.server.beside(Options { embedder: embedders::none(), ..Options::default() }).await;
    // words, vectors (no note has the word), and pieces of words
    for query in ["deploys", "releasing software", "eploy"] {
        for (filter, wanted) in &cases {
            let mut body = filter.clone();
            body["query"] = query.into();
            body["limit"] = 100.into();
            for (caller, may) in [(ada, false), (eve, true)] {
                let expected =
                    contents(|n| wanted(n) && (n.visibility != "PRIVATE" || n.by_eve == may));
                assert_eq!(found(caller, body.clone()).await, expected, "{body}");
                if query != "releasing software" {
                    let bare = found(&caller.at(&words_alone.url), body.clone()).await;
                    assert_eq!(bare, expected, "by words alone: {body}");
                }
            }
        }
    }
}

#[tokio::test]
async fn filters_do_not_reach_what_the_caller_cannot_see() {
    let world = world().await;
    let outsider = world.server.member(&world.org, "mallory", OrgRole::Admin).await;
    let eve_id = world.eve.user_id.to_string();
    for filter in [
        json!({ "authorUserId": eve_id }),
        json!({ "tags": ["red"] }),
        json!({ "visibility": "PRIVATE" }),
        json!({ "visibility": "SPACE" }),
        json!({ "createdAfter": "2026-01-03T00:00:00Z", "createdBefore": "2026-01-07T00:00:00Z" }),
    ] {
        let mut body = filter;
        body["query"] = "deploys".into();
        let seen = found(&outsider, body.clone()).await;
        let allowed = contents(|n| n.visibility == "ORG");
        assert!(seen.is_subset(&allowed), "{body}: {seen:?}");
    }
    // nor does somebody else's id bring anything of another organization
    let stranger = world.server.org("third").await.owner;
    let body = json!({ "query": "deploys", "authorUserId": eve_id });
    assert_eq!(found(&stranger, body).await, BTreeSet::new());
}

#[tokio::test]
async fn the_lowest_score_cuts_the_same_ranking() {
    let world = world().await;
    let ask = async |min_score: Value| {
        let body = json!({ "query": "deploys one", "minScore": min_score });
        world.org.owner.post("/memory/search", body).await.data(200)["results"].take()
    };
    let score = |hit: &Value| hit["score"].as_f64().expect("a score");
    let all = ask(Value::Null).await;
    let all = all.as_array().expect("results");
    for bound in [0.0, score(&all[1]), 1.0] {
        let expected: Vec<&Value> = all.iter().filter(|hit| score(hit) >= bound).collect();
        assert_eq!(ask(json!(bound)).await, json!(expected), "{bound}");
    }
}

#[tokio::test]
async fn the_answer_at_the_end_of_a_long_note_is_highlighted() {
    let server = Server::start().await;
    let ada = server.org("acme").await.owner;
    let answer = "The alarm in the archive room is disarmed by typing 4711 — then the hash key. 🦀";
    let filler =
        "Attendance was taken, the agenda was read aloud and nobody objected to any of it. ";
    let long = format!("Ä{}{answer} {}", filler.repeat(90), filler.repeat(20));
    ada.note(json!({ "content": long, "visibility": "ORG" })).await;
    for query in ["how is the burglar alarm switched off?", "archive room"] {
        let data = ada.post("/memory/search", json!({ "query": query })).await.data(200);
        let highlights = data["results"][0]["highlights"].as_array().expect("highlights").clone();
        assert!((1..=3).contains(&highlights.len()), "{highlights:?}");
        let characters: Vec<char> = long.chars().collect();
        for highlight in &highlights {
            let at = |name: &str| highlight[name].as_u64().expect("an offset") as usize;
            let text: String = characters[at("start")..at("end")].iter().collect();
            assert_eq!(highlight["text"], text);
        }
        let said =
            highlights.iter().any(|h| h["text"].as_str().is_some_and(|t| t.contains("4711")));
        assert!(said, "{query}: {highlights:?}");
    }
}
