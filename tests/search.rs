//! Search: `/memory/search`.

use crate::fixture::embedders::{HOPELESS, Obedient};
use crate::fixture::shape::{fields, id, issues};
use crate::fixture::{Caller, Options, Server, embedders};
use crate::search_at_scale::caller;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use switchy_server::auth::OrgRole;
use switchy_server::search::CANDIDATES;
use switchy_server::search::embedder::Embedder;
use switchy_server::store::search::{EXACT_BELOW, Filter, Scan, nearest};

/// A server without a model.
fn words_alone() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

async fn org_notes(caller: &Caller, contents: &[&str]) {
    for content in contents {
        caller.note(json!({ "content": content, "visibility": "ORG" })).await;
    }
}

async fn results(caller: &Caller, body: Value) -> Value {
    caller.post("/memory/search", body).await.data(200)["results"].take()
}

/// Contents and scores, best first.
fn ranked(results: &Value) -> Vec<(String, f64)> {
    let hits = results.as_array().expect("results").iter();
    hits.map(|hit| {
        let content = hit["memory"]["content"].as_str().expect("content").to_owned();
        (content, hit["score"].as_f64().expect("a score"))
    })
    .collect()
}

/// Fails the test unless scores are within 0 and 1 and fall.
#[track_caller]
fn assert_ranked(results: &Value) {
    let scores: Vec<f64> = ranked(results).iter().map(|(_, score)| *score).collect();
    assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)), "{scores:?}");
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}

const TEAM: [&str; 8] = [
    "Staging deploys happen on Tuesdays; the release captain holds the lock.",
    "Customers may return anything they bought within thirty days and get their money back.",
    "The office kitchen is cleaned every evening by the facilities crew.",
    "Ada's laptop was stolen at the airport, so her certificates were revoked.",
    "We saw ERR_CONN_RESET behind the old load balancer; ERR_CONN_REFUSED means it is down.",
    "PROJ-1235: change the colour of the buttons.",
    "PROJ-1234: change the shape of the icons.",
    "Nightly database backups are kept in the Frankfurt bucket for five weeks.",
];

#[tokio::test]
async fn meaning_beats_words() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    org_notes(&org.owner, &TEAM).await;
    org_notes(&org.owner, &["Nobody else knows that I want to quit my job."]).await;
    // a stray `is` must not make up for a meaning that is nowhere near
    org_notes(&org.owner, &["PROJ-1236 is about the size of the letters."]).await;
    for (query, note) in [
        ("what is our refund policy?", TEAM[1]),
        ("who tidies up the place where we make coffee?", TEAM[2]),
        ("a colleague's computer was taken by a thief", TEAM[3]),
        ("how long do we retain copies of our Postgres data?", TEAM[7]),
        ("leaving the company", "Nobody else knows that I want to quit my job."),
    ] {
        let found = results(&org.owner, json!({ "query": query })).await;
        assert_ranked(&found);
        assert_eq!(ranked(&found)[0].0, note, "{query}: {:#?}", ranked(&found));
    }
}

#[tokio::test]
async fn rare_identifiers_are_found() {
    for options in [Options::default(), words_alone()] {
        let server = Server::with(options).await;
        let org = server.org("acme").await;
        org_notes(&org.owner, &TEAM).await;
        org_notes(&org.owner, &["ERR_CONN_TIMEOUT: ask Bob.", "A connection was reset."]).await;
        for (query, note) in [
            ("ERR_CONN_RESET", TEAM[4]),
            ("err_conn_reset", TEAM[4]),
            ("PROJ-1234", TEAM[6]),
            ("proj-1235", TEAM[5]),
            ("what did PROJ-1234 change?", TEAM[6]),
        ] {
            assert_eq!(
                org.owner.search(query).await.first().map(String::as_str),
                Some(note),
                "{query}"
            );
        }
    }
}

#[tokio::test]
async fn words_are_found_by_their_stem_and_in_any_case() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    org_notes(&org.owner, &TEAM).await;
    org_notes(&org.owner, &["ПРИВЕТ из Москвы", "Über Größe und Maß"]).await;
    for (query, note) in [
        ("deploying", TEAM[0]),
        ("DEPLOYED", TEAM[0]),
        ("certificate revoking", TEAM[3]),
        ("backup", TEAM[7]),
        ("привет", "ПРИВЕТ из Москвы"),
        ("МОСКВЫ", "ПРИВЕТ из Москвы"),
        ("größe", "Über Größe und Maß"),
        ("ÜBER", "Über Größe und Maß"),
    ] {
        assert_eq!(org.owner.search(query).await, [note], "{query}");
    }
    assert_eq!(org.owner.search("xylophone").await, [""; 0]);
}

#[tokio::test]
async fn tags_are_found_like_words() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    org_notes(&org.owner, &TEAM).await;
    let body = json!({ "content": "Ask Grace.", "visibility": "ORG", "tags": ["onboarding"] });
    org.owner.note(body).await;
    assert_eq!(org.owner.search("onboarding").await, ["Ask Grace."]);
}

#[tokio::test]
async fn an_answer_at_the_end_of_a_long_note_is_found() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    org_notes(&org.owner, &TEAM).await;
    let filler =
        "Attendance was taken, the agenda was read aloud and nobody objected to any of it. ";
    let mut long = filler.repeat(109);
    long.push_str(
        "The alarm in the archive room is disarmed by typing 4711 followed by the hash key.",
    );
    assert!(long.len() > 9_000);
    org_notes(&org.owner, &[&long]).await;
    let found = org.owner.search("burglar alarm code").await;
    assert_eq!(found[0], long);
}

#[tokio::test]
async fn a_note_that_could_not_be_embedded_is_tried_again_once_it_says_something_else() {
    let obedient = Arc::new(Obedient::default());
    let embedder: Arc<dyn Embedder> = obedient.clone();
    let server = Server::with(Options { embedder, ..Options::default() }).await;
    let owner = server.org("acme").await.owner;
    let sql = server.sql().await;
    let until = async |what: &str, holds: &dyn Fn(i64) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let count = "SELECT count(*) FROM memory_embeddings";
            if holds(sql.query_one(count, &[]).await.expect("read").get(0)) {
                break;
            }
            assert!(Instant::now() < deadline, "in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let hopeless = json!({ "content": HOPELESS, "visibility": "ORG" });
    let note = owner.note(hopeless.clone()).await;
    // by the request, and by what catches up
    until("it is given up", &|_| obedient.refused.load(Ordering::SeqCst) >= 2).await;
    obedient.away.store(true, Ordering::SeqCst);
    let path = format!("/memory/{}", note["id"].as_str().expect("an id"));
    owner.patch(&path, json!({ "content": "Hope." })).await.data(200);
    obedient.away.store(false, Ordering::SeqCst);
    // wakes what catches up
    owner.note(hopeless).await;
    until("it is embedded", &|vectors| vectors == 1).await;
}

#[tokio::test]
async fn a_result_is_a_note_and_its_score() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let note = org.owner.note(json!({ "content": TEAM[0], "visibility": "ORG" })).await;
    let data = org.owner.post("/memory/search", json!({ "query": "deploys" })).await.data(200);
    assert_eq!(fields(&data), ["degraded", "results"]);
    assert_eq!(data["degraded"], false);
    let highlight = json!({ "text": TEAM[0], "start": 0, "end": TEAM[0].chars().count() });
    let hit = json!({ "memory": note, "score": 1.0, "highlights": [highlight] });
    assert_eq!(data["results"], json!([hit]));
    let empty = server.org("other").await.owner;
    let data = empty.post("/memory/search", json!({ "query": "deploys" })).await.data(200);
    assert_eq!(data, json!({ "results": [], "degraded": false }));
}

#[tokio::test]
async fn the_limit_cuts_the_same_ranking() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    for i in 0..25 {
        org_notes(&org.owner, &[&format!("Note {i}: {}", TEAM[i % 8])]).await;
    }
    let query = "when are releases deployed?";
    let all = results(&org.owner, json!({ "query": query, "limit": 100 })).await;
    assert_ranked(&all);
    let all = ranked(&all);
    assert_eq!(all.len(), 25);
    for limit in [1, 3, 24] {
        let some = results(&org.owner, json!({ "query": query, "limit": limit })).await;
        assert_eq!(ranked(&some), all[..limit], "{limit}");
    }
    for body in [json!({ "query": query }), json!({ "query": query, "limit": null })] {
        assert_eq!(ranked(&results(&org.owner, body).await), all[..20], "the default");
    }
}

#[tokio::test]
async fn equal_notes_keep_their_order_over_repeated_searches() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    for _ in 0..6 {
        org_notes(&org.owner, &[TEAM[0], TEAM[1]]).await;
    }
    let query = json!({ "query": "deploys", "limit": 12 });
    let first = results(&org.owner, query.clone()).await;
    let notes: Vec<&Value> =
        first.as_array().expect("results").iter().map(|r| &r["memory"]).collect();
    let stamps: Vec<&str> =
        notes.iter().map(|n| n["createdAt"].as_str().expect("a time")).collect();
    assert!(stamps[..6].is_sorted_by(|a, b| a >= b), "newest first: {stamps:?}");
    for _ in 0..5 {
        assert_eq!(results(&org.owner, query.clone()).await, first);
    }
}

#[tokio::test]
async fn a_search_of_one_space_finds_its_notes_alone() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let (here, there) = (org.owner.space("Here").await, org.owner.space("There").await);
    for (content, visibility, space) in [
        ("deploys here", "SPACE", &here["id"]),
        ("deploys there", "SPACE", &there["id"]),
        ("deploys for all", "ORG", &Value::Null),
        ("deploys for me", "PRIVATE", &Value::Null),
    ] {
        let body = json!({ "content": content, "visibility": visibility, "spaceId": space });
        org.owner.note(body).await;
    }
    let eve = server.member(&org, "eve", OrgRole::Admin).await;
    for options in [Options::default(), words_alone()] {
        let beside = server.beside(options).await;
        let owner = org.owner.at(&beside.url);
        for query in ["deploys", "of", "ploy"] {
            let body = json!({ "query": query, "spaceId": here["id"] });
            for (content, _) in ranked(&results(&owner, body).await) {
                assert_eq!(content, "deploys here", "{query}");
            }
        }
        let body = json!({ "query": "deploys", "spaceId": here["id"] });
        assert_eq!(ranked(&results(&owner, body.clone()).await)[0].0, "deploys here");
        assert_eq!(owner.search("deploys").await.len(), 4);
        eve.at(&beside.url).post("/memory/search", body).await.fails(403, "FORBIDDEN");
    }
    let stranger = server.org("other").await.owner;
    for space in [id(&here), &("c".to_owned() + &"0".repeat(24))] {
        let body = json!({ "query": "deploys", "spaceId": space });
        stranger.post("/memory/search", body).await.fails(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn notes_out_of_sight_change_neither_order_nor_scores() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let other = server.org("other").await.owner;
    let secret = eve.space("Secret").await;
    org_notes(&org.owner, &TEAM).await;
    let queries = ["deploys lock", "PROJ-1234", "refund policy", "backups", "of the", "ROJ-12"];
    let ask = async || {
        let mut found = Vec::new();
        for query in queries {
            found.push(results(&org.owner, json!({ "query": query })).await);
        }
        found
    };
    let before = ask().await;
    for i in 0..12 {
        let content = format!("{} deploys lock PROJ-1234 backups {i}", TEAM[i % 8]);
        eve.note(json!({ "content": content, "visibility": "PRIVATE" })).await;
        let space = &secret["id"];
        eve.note(json!({ "content": content, "visibility": "SPACE", "spaceId": space })).await;
        org_notes(&other, &[&content]).await;
    }
    assert_eq!(ask().await, before);
}

#[tokio::test]
async fn without_a_model_words_are_found_and_the_answer_says_so() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    org_notes(&org.owner, &TEAM).await;
    let data = org.owner.post("/memory/search", json!({ "query": "deploys" })).await.data(200);
    assert_eq!(data["degraded"], true);
    assert_ranked(&data["results"]);
    assert_eq!(ranked(&data["results"]), [(TEAM[0].to_owned(), 1.0)]);
    org_notes(&org.owner, &["The lock of the bike shed is broken."]).await;
    let found = org.owner.search("who holds the deploy lock?").await;
    assert_eq!(found, [TEAM[0], "The lock of the bike shed is broken."]);
}

#[tokio::test]
async fn notes_written_without_a_model_are_embedded_by_a_server_that_has_one() {
    let without = Server::with(words_alone()).await;
    let org = without.org("acme").await;
    let space = org.owner.space("Team").await;
    org_notes(&org.owner, &TEAM).await;
    let hidden = "Nobody else knows that I want to quit my job.";
    org.owner.note(json!({ "content": hidden, "visibility": "PRIVATE" })).await;
    let shared = "We chose Kotlin for the phone app.";
    let body = json!({ "content": shared, "visibility": "SPACE", "spaceId": space["id"] });
    org.owner.note(body).await;
    let eve = without.member(&org, "eve", OrgRole::Member).await;

    let with = without.beside(Options::default()).await;
    let sql = without.sql().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left = "SELECT count(*) FROM memories m WHERE NOT EXISTS \
                    (SELECT FROM memory_embeddings e WHERE e.memory_id = m.id)";
        let left: i64 = sql.query_one(left, &[]).await.expect("counted").get(0);
        if left == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{left} notes are still without vectors");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (owner, eve) = (org.owner.at(&with.url), eve.at(&with.url));
    let query = "how long do we retain copies of our Postgres data?";
    assert_eq!(owner.search(query).await[0], TEAM[7]);
    assert_eq!(owner.search("leaving the company").await[0], hidden);
    assert_eq!(owner.search("smartphone application").await[0], shared);
    let hers = eve.search("leaving the company").await;
    assert_eq!(hers.len(), TEAM.len(), "{hers:?}");
}

/// What people and programs may type.
fn odd_queries() -> Vec<String> {
    let mut queries: Vec<String> = [
        "deploys",
        "the of and",
        "a",
        "🦀",
        "👩‍👩‍👧‍👦",
        "备份",
        "凌晨三点",
        "?",
        "!!!",
        "…",
        "'",
        "''",
        "\"",
        "\\",
        "\\'",
        "' | & ! :* \\ <->",
        "a & | b",
        "!deploys",
        "deploys:*",
        "(deploys",
        "deploys)",
        "a <-> b",
        "a <2> b",
        "'deploys' & 'lock'",
        "'; DROP TABLE memories; --",
        "' OR 1=1 --",
        "$1",
        "%s",
        "%",
        "_",
        "מה שלום העולם",
        "مرحبا بالعالم",
        "e\u{301}cole",
        "\u{301}",
        "\u{200b}x",
        "\u{202e}abc",
        "Z̸a̸l̸g̸o̸",
        "\u{feff}deploys",
        "a\tb\nc",
        "null",
        "undefined",
        "{\"query\": 1}",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "https://example.com/?a=b",
        "C++",
        "C#",
        ".net",
        "1234",
        "-1",
        "1e309",
        "NaN",
        "İ",
        "ß",
        "\u{10ffff}",
        "\u{fffd}",
    ]
    .map(str::to_owned)
    .into();
    queries.push("x".repeat(10_000));
    queries.push("word ".repeat(1_999) + "words");
    queries.push((0..1_600).map(|i| format!("w{i} ")).collect::<String>());
    queries.push("🦀".repeat(10_000));
    queries.push("'".repeat(10_000));
    queries.push("\\".repeat(10_000));
    queries
}

#[tokio::test]
async fn whatever_is_asked_is_answered() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let stranger = server.org("other").await.owner;
    org_notes(&org.owner, &TEAM).await;
    for content in
        ["🦀 is Ferris", "数据库备份每天凌晨三点运行", "it's a \\ back'slash", "école", "C++"]
    {
        org_notes(&org.owner, &[content]).await;
    }
    let bare = server.beside(words_alone()).await;
    for query in odd_queries() {
        let body = json!({ "query": query, "limit": 100 });
        for url in [&server.url, &bare.url] {
            let shown: String = query.chars().take(40).collect();
            let answer = org.owner.at(url).post("/memory/search", body.clone()).await;
            assert_eq!(answer.status, 200, "{shown}: {}", answer.text);
            let found = answer.data(200)["results"].take();
            assert_ranked(&found);
            let mut ids: Vec<String> =
                ranked(&found).into_iter().map(|(content, _)| content).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), ranked(&found).len(), "{shown}: each note once");
            assert_eq!(stranger.at(url).search(&query).await, [""; 0], "{shown}");
        }
    }
}

#[tokio::test]
async fn scripts_without_spaces_emoji_and_stop_words_are_found_literally() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    org_notes(&org.owner, &TEAM).await;
    let backup = "数据库备份每天凌晨三点运行";
    org_notes(&org.owner, &["🦀 is Ferris", backup, "会议室在二楼", "to be or not to be"]).await;
    let bare = server.beside(words_alone()).await;
    for url in [&server.url, &bare.url] {
        let owner = org.owner.at(url);
        for (query, note) in [
            ("凌晨三点", backup),
            ("会议室", "会议室在二楼"),
            ("🦀", "🦀 is Ferris"),
            ("to be or", "to be or not to be"),
        ] {
            assert_eq!(owner.search(query).await[0], note, "{query}");
        }
    }
}

#[tokio::test]
async fn a_query_has_one_to_ten_thousand_characters_and_no_nul() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let search = |body: Value| org.owner.post("/memory/search", body);
    for (body, paths) in [
        (json!({}), vec!["query"]),
        (json!({ "query": null }), vec!["query"]),
        (json!({ "query": "" }), vec!["query"]),
        (json!({ "query": " \u{2003}\n\t" }), vec!["query"]),
        (json!({ "query": "a\0b" }), vec!["query"]),
        (json!({ "query": "\0" }), vec!["query"]),
        (json!({ "query": "é".repeat(10_001) }), vec!["query"]),
        (json!({ "query": ["x"] }), vec!["query"]),
        (json!({ "query": "x", "limit": 0 }), vec!["limit"]),
        (json!({ "query": "x", "limit": 101 }), vec!["limit"]),
        (json!({ "query": "x", "limit": -1 }), vec!["limit"]),
        (json!({ "query": "x", "limit": 1.5 }), vec!["limit"]),
        (json!({ "query": "x", "limit": "5" }), vec!["limit"]),
        (json!({ "query": "x", "spaceId": "nonsense" }), vec!["spaceId"]),
        (json!({ "query": "", "limit": 0 }), vec!["limit", "query"]),
        (json!({ "query": "x", "minScore": 1.1 }), vec!["minScore"]),
        (json!({ "query": "x", "minScore": -0.1 }), vec!["minScore"]),
        (json!({ "query": "x", "minScore": "1" }), vec!["minScore"]),
        (json!({ "query": "x", "visibility": "EVERYBODY" }), vec!["visibility"]),
        (json!({ "query": "x", "authorUserId": "nonsense" }), vec!["authorUserId"]),
        (json!({ "query": "x", "tags": "x" }), vec!["tags"]),
        (json!({ "query": "x", "tags": ["x", ""] }), vec!["tags.1"]),
        (json!({ "query": "x", "tags": ["x\0"] }), vec!["tags.0"]),
        (json!({ "query": "x", "tags": vec!["x"; 21] }), vec!["tags"]),
        (json!({ "query": "x", "createdAfter": "yesterday" }), vec!["createdAfter"]),
        (json!({ "query": "x", "createdAfter": "+20000-01-01T00:00:00Z" }), vec!["createdAfter"]),
        (json!({ "query": "x", "createdBefore": "0000-01-01T00:00:00Z" }), vec!["createdBefore"]),
        (
            json!({ "query": "x", "createdAfter": "2026-01-02T00:00:00Z",
                "createdBefore": "2026-01-01T00:00:00Z" }),
            vec!["createdBefore"],
        ),
        (json!({ "query": "", "limit": "x", "spaceId": 1 }), vec!["limit", "query", "spaceId"]),
    ] {
        assert_eq!(issues(&search(body.clone()).await), paths, "{body}");
    }
    search(json!({ "query": "é".repeat(10_000), "spaceId": null, "more": 1 })).await.data(200);
}

/// Notes that say alike have a say in each other's score: those that the caller can see.
#[tokio::test]
async fn what_others_keep_to_themselves_changes_no_score() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    org_notes(&org.owner, &TEAM).await;
    let question = json!({ "query": "when can I ship to the test environment?" });
    let before = ranked(&results(&org.owner, question.clone()).await);
    let alike = ["Staging deploys happen at noon.", "Staging is deployed to by the captain."];
    for content in alike {
        eve.note(json!({ "content": content, "visibility": "PRIVATE" })).await;
    }
    assert_eq!(ranked(&results(&org.owner, question.clone()).await), before);
    org_notes(&org.owner, &alike).await;
    let after = ranked(&results(&org.owner, question).await);
    let score = |of: &[(String, f64)]| of.iter().find(|(c, _)| *c == TEAM[0]).map(|(_, s)| *s);
    assert_ne!(score(&after), score(&before), "these are seen, and near");
}

/// Above [`EXACT_BELOW`] visible passages the index is
/// walked. The other organization's notes lie nearer to the query than any of the caller's, so a
/// walk that forgot whose they are would find them, and one that filtered too late nothing at all.
#[tokio::test]
async fn among_many_notes_the_index_finds_what_an_exact_scan_finds() {
    let server = Server::start().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let query = "zebra";
    let embedder = embedders::real();
    let asked = embedder.embed_query(query).await.expect("embedded").dense;
    let vector: Vec<String> = asked.as_slice().iter().map(f32::to_string).collect();
    let vector = format!("[{}]", vector.join(","));
    let sql = server.sql().await;
    sql.batch_execute("DROP INDEX memory_embeddings_hnsw; SELECT setseed(0.5)")
        .await
        .expect("ready");
    // the caller's: twenty directions, noise around each; the first direction is the query's
    let mine = EXACT_BELOW + 200;
    for (org, count, prefix, noise) in [(&acme, mine, "a", 0.08), (&other, 2_000, "b", 0.02)] {
        let insert = format!(
            "WITH centre AS MATERIALIZED (
                 SELECT c, CASE c WHEN 0 THEN '{vector}'::vector ELSE l2_normalize((
                     SELECT array_agg(random() - 0.5) FROM generate_series(1, 384) WHERE c = c
                 )::real[]::vector) END AS v FROM generate_series(0, 19) c
             ), note AS MATERIALIZED (
                 SELECT n, 'c{prefix}' || lpad(n::text, 23, '0') AS id, CASE '{prefix}'
                     WHEN 'a' THEN n % 20 ELSE 0 END AS c FROM generate_series(1, {count}) n
             ), written AS (
                 INSERT INTO memories (id, org_id, author_user_id, visibility, content)
                 SELECT id, $1, $2, 'ORG', 'filler {prefix}' || n FROM note RETURNING id
             )
             INSERT INTO memory_embeddings (memory_id, model_id, passage, org_id, author_user_id,
                 visibility, starts_at, ends_at, embedding)
             SELECT note.id, $3, 0, $1, $2, 'ORG', 0, 6, l2_normalize(centre.v + (
                 SELECT array_agg({noise} * (random() - 0.5)) FROM generate_series(1, 384)
                 WHERE n = n)::real[]::vector)::halfvec
             FROM note JOIN centre USING (c)"
        );
        let (org_id, user, model) =
            (org.id.as_str(), org.owner.user_id.as_str(), embedder.model_id());
        sql.execute(&insert, &[&org_id, &user, &model]).await.expect("written");
    }
    sql.batch_execute(
        "CREATE INDEX memory_embeddings_hnsw ON memory_embeddings \
         USING hnsw (embedding halfvec_cosine_ops); ANALYZE memories, memory_embeddings",
    )
    .await
    .expect("indexed");

    let exact = format!(
        "SELECT m.content, m.id FROM memory_embeddings e JOIN memories m ON m.id = e.memory_id \
         WHERE e.org_id = $1 ORDER BY (e.embedding <=> '{vector}') + 0, m.id DESC LIMIT 10"
    );
    let rows = sql.query(&exact, &[&acme.id.as_str()]).await.expect("read");
    let exact: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // the walk's own order
    let mut tx = server.store.begin(&caller(&acme.owner)).await.expect("a transaction");
    let model = embedder.model_id();
    let walked = nearest(&mut tx, &asked, model, &Filter::default(), 100, EXACT_BELOW).await;
    let (walked, scan) = walked.expect("found").expect("the model is active");
    assert_eq!(scan, Scan::Index);
    let ids: Vec<&str> = rows.iter().map(|row| row.get(1)).collect();
    let hits = walked[..10].iter().filter(|id| ids.contains(&id.as_str())).count();
    assert!(hits >= 9, "{hits} of 10: {walked:?} instead of {ids:?}");
    let found = results(&acme.owner, json!({ "query": query, "limit": 100 })).await;
    assert_ranked(&found);
    let found: Vec<String> = ranked(&found).into_iter().map(|(content, _)| content).collect();
    assert_eq!(found.len(), 100);
    assert!(found.iter().all(|content| content.starts_with("filler a")), "{found:?}");
    // what is nearest is found; in which order it is shown, its neighbours decide, too
    let ranked = &found[..CANDIDATES];
    let hits = exact.iter().filter(|content| ranked.contains(content)).count();
    assert!(hits >= 9, "{hits} of 10: {ranked:?} instead of {exact:?}");
    // and the small organization's search, which compares everything, stays its own
    let theirs = other.owner.search(query).await;
    assert!(theirs.len() == 100 && theirs.iter().all(|c| c.starts_with("filler b")));
}
