//! Search over transcripts: `/spaces/{slug}/messages/search`.

use crate::fixture::shape::{fields, id, issues};
use crate::fixture::{Caller, Options, Org, Server, embedders};
use crate::isolation::as_app;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use switchy_server::auth::OrgRole;
use switchy_server::store::message_search::BUDGET;

const SEARCH: &str = "/spaces/team/messages/search";

struct Team {
    server: Server,
    org: Org,
    space: Value,
}

impl Team {
    async fn start() -> Team {
        let options = Options { embedder: embedders::none(), ..Options::default() };
        let server = Server::with(options).await;
        let org = server.org("acme").await;
        let space = org.owner.space("Team").await;
        Team { server, org, space }
    }

    async fn admitted(&self, name: &str, role: &str) -> Caller {
        let caller = self.server.member(&self.org, name, OrgRole::Member).await;
        self.server.admit(id(&self.space), &caller, role).await;
        caller
    }

    /// Makes a session of its creator's alone, as saved sessions can be.
    async fn hide(&self, session: &Value, hidden: bool) {
        let visibility = if hidden { "private" } else { "workspace" };
        let sql = "UPDATE sessions SET visibility = $2 WHERE id = $1";
        self.server.sql().await.execute(sql, &[&id(session), &visibility]).await.expect("hidden");
    }
}

async fn session(caller: &Caller, name: &str) -> Value {
    caller.post("/spaces/team/sessions", json!({ "name": name })).await.data(201)["session"].take()
}

async fn say(caller: &Caller, session: &Value, body: &str) -> Value {
    let path = format!("/spaces/team/sessions/{}/messages", id(session));
    caller.post(&path, json!({ "body": body })).await.data(201)["message"].take()
}

async fn results(caller: &Caller, body: Value) -> Vec<Value> {
    let mut data = caller.post(SEARCH, body).await.data(200);
    let Value::Array(found) = data["results"].take() else { panic!("{data}") };
    found
}

/// What was found, best first.
async fn found(caller: &Caller, body: Value) -> Vec<String> {
    let results = results(caller, body).await;
    let body = |hit: &Value| hit["message"]["body"].as_str().expect("a body").to_owned();
    results.iter().map(body).collect()
}

/// Everything that was found, without what stands around it.
async fn alone(caller: &Caller, query: &str) -> BTreeSet<String> {
    let body = json!({ "query": query, "context": 0, "limit": 100 });
    found(caller, body).await.into_iter().collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

#[tokio::test]
async fn a_result_is_a_message_with_what_stands_around_it() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let session = session(ada, "Upgrade").await;
    let mut said = Vec::new();
    for body in ["Good morning.", "Hello.", "Shall we move to Postgres? It is slow.", "No.", "Bye."]
    {
        said.push(say(ada, &session, body).await);
    }
    let data = ada.post(SEARCH, json!({ "query": "moving to postgres" })).await.data(200);
    assert_eq!(fields(&data), ["results"]);
    let sentence = "Shall we move to Postgres?";
    let expected = json!({
        "message": said[2], "sessionName": "Upgrade", "score": 1.0,
        "highlights": [{ "text": sentence, "start": 0, "end": sentence.len() }],
        "before": [said[1]], "after": [said[3]],
    });
    assert_eq!(data["results"], json!([expected]));
    for (turns, before, after) in [(0, 2..2, 3..3), (2, 0..2, 3..5), (5, 0..2, 3..5)] {
        let hits = results(ada, json!({ "query": "postgres", "context": turns })).await;
        assert_eq!(hits[0]["before"], json!(said[before]), "{turns}");
        assert_eq!(hits[0]["after"], json!(said[after]), "{turns}");
    }
    assert_eq!(results(ada, json!({ "query": "xylophone" })).await, [Value::Null; 0]);
}

#[tokio::test]
async fn what_stands_around_a_message_counts() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let answer = "They stay in Frankfurt for five weeks.";
    for (name, turns) in [
        ("alone", ["I like weeks.", "Lunch?", "Frankfurt is nice.", "Sure."]),
        ("together", ["Lunch?", "How long do we keep the database backups?", answer, "Thanks."]),
        ("elsewhere", ["The database is fine.", "Good.", "Lunch?", "Where?"]),
    ] {
        let session = session(ada, name).await;
        for body in turns {
            say(ada, &session, body).await;
        }
    }
    // no message has all of these words, one exchange does
    let hits = results(ada, json!({ "query": "database backups weeks Frankfurt" })).await;
    assert_eq!(hits[0]["sessionName"], "together");
    let shown = [&hits[0]["before"], &json!([hits[0]["message"]]), &hits[0]["after"]];
    assert!(shown.iter().any(|part| part.to_string().contains(answer)), "{:#}", hits[0]);
    // it is shown once
    let together = hits.iter().filter(|hit| hit["sessionName"] == "together").count();
    assert_eq!(together, 1);
    let scores: Vec<f64> = hits.iter().map(|h| h["score"].as_f64().expect("a score")).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] == 1.0, "{scores:?}");
    // without what stands around, both of its messages are hits
    let hits = results(ada, json!({ "query": "backups Frankfurt", "context": 0 })).await;
    assert_eq!(hits.iter().filter(|hit| hit["sessionName"] == "together").count(), 2);
}

#[tokio::test]
async fn what_is_said_around_a_message_counts_half_and_once() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    for (name, turns) in [
        ("often", ["plum tart", "plum tart", "apple tart", "plum tart", "plum tart"]),
        ("once", ["lunch", "plum tart", "apple tart", "lunch", "lunch"]),
        ("in it", ["lunch", "lunch", "apple plum", "lunch", "lunch"]),
    ] {
        let session = session(ada, name).await;
        for body in turns {
            say(ada, &session, body).await;
        }
    }
    let body = json!({ "query": "apple plum", "context": 0, "limit": 100 });
    let hits = results(ada, body).await;
    let score = |session: &str| -> f64 {
        let said = |h: &&Value| h["message"]["body"].as_str().is_some_and(|b| b.contains("apple"));
        let hit = hits.iter().filter(said).find(|h| h["sessionName"] == session);
        hit.and_then(|h| h["score"].as_f64()).expect("a score")
    };
    assert_eq!(score("in it"), 1.0);
    assert!(score("once") < 0.95, "{hits:#?}");
    assert!((score("often") - score("once")).abs() < 1e-9, "{hits:#?}");
}

#[tokio::test]
async fn the_filters_decide_what_is_looked_at() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let eve = team.admitted("eve", "MEMBER").await;
    let (one, two) = (session(ada, "one").await, session(ada, "two").await);
    say(ada, &one, "zulu ada one").await;
    let later = say(&eve, &one, "zulu eve one").await;
    say(ada, &two, "zulu ada two").await;
    let agent = team.server.key_for(ada, &["*", "messages:agent"]).await;
    let path = format!("/spaces/team/sessions/{}/messages", id(&two));
    let body = json!({ "body": "zulu agent two", "authorAgent": "claude" });
    agent.post(&path, body).await.data(201);
    for (filter, expected) in [
        (json!({}), vec!["zulu ada one", "zulu eve one", "zulu ada two", "zulu agent two"]),
        (json!({ "sessionId": one["id"] }), vec!["zulu ada one", "zulu eve one"]),
        (json!({ "authorUserId": eve.user_id }), vec!["zulu eve one"]),
        (json!({ "authorAgent": "claude" }), vec!["zulu agent two"]),
        (json!({ "authorAgent": "gpt" }), vec![]),
        (
            json!({ "createdAfter": later["createdAt"] }),
            vec!["zulu eve one", "zulu ada two", "zulu agent two"],
        ),
        (json!({ "createdBefore": later["createdAt"] }), vec!["zulu ada one"]),
        (
            json!({ "sessionId": two["id"], "authorUserId": ada.user_id, "authorAgent": null }),
            vec!["zulu ada two", "zulu agent two"],
        ),
        (json!({ "sessionId": "c00000000000000000000000x" }), vec![]),
    ] {
        // by words, and by a piece of one
        for query in ["zulu", "ulu"] {
            let mut body = filter.clone();
            body["query"] = query.into();
            body["context"] = 0.into();
            let seen: BTreeSet<String> = found(ada, body.clone()).await.into_iter().collect();
            assert_eq!(seen, set(&expected), "{body}");
        }
    }
    let all = results(ada, json!({ "query": "zulu eve", "context": 0 })).await;
    let second = all[1]["score"].as_f64().expect("a score");
    let best = results(ada, json!({ "query": "zulu eve", "context": 0, "minScore": 1.0 })).await;
    assert_eq!(best, all[..1]);
    let limited = results(ada, json!({ "query": "zulu eve", "context": 0, "limit": 2 })).await;
    assert_eq!(limited, all[..2]);
    assert!(second < 1.0);
}

#[tokio::test]
async fn nobody_finds_what_he_may_not_read() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let eve = team.admitted("eve", "VIEWER").await;
    let bob = team.admitted("bob", "MEMBER").await;
    let (shared, hidden) = (session(ada, "shared").await, session(&bob, "hidden").await);
    say(ada, &shared, "zulu shared").await;
    say(&bob, &hidden, "zulu hidden").await;
    team.hide(&hidden, true).await;
    let others = team.server.org("other").await.owner;
    let theirs = others.space("Team").await;
    assert_eq!(theirs["slug"], "team");
    let away = session(&others, "away").await;
    say(&others, &away, "zulu away").await;

    for query in ["zulu", "ulu"] {
        assert_eq!(alone(ada, query).await, set(&["zulu shared"]), "{query}");
        assert_eq!(alone(&eve, query).await, set(&["zulu shared"]), "{query}");
        assert_eq!(alone(&bob, query).await, set(&["zulu shared", "zulu hidden"]), "{query}");
        assert_eq!(alone(&others, query).await, set(&["zulu away"]), "{query}");
        let named = json!({ "query": query, "sessionId": hidden["id"] });
        assert_eq!(found(ada, named).await, [""; 0]);
    }
    // no role in the organization helps
    let admin = team.server.member(&team.org, "admin", OrgRole::Admin).await;
    admin.post(SEARCH, json!({ "query": "zulu" })).await.fails(403, "FORBIDDEN");
    ada.post("/spaces/nowhere/messages/search", json!({ "query": "zulu" }))
        .await
        .fails(404, "NOT_FOUND");
    let deaf = team.server.key_for(ada, &["memory:read"]).await;
    deaf.post(SEARCH, json!({ "query": "zulu" })).await.fails(403, "FORBIDDEN");

    // what is shown to all, all find, and the other way round
    team.hide(&hidden, false).await;
    assert_eq!(alone(ada, "zulu").await, set(&["zulu shared", "zulu hidden"]));
    team.hide(&shared, true).await;
    assert_eq!(alone(&eve, "zulu").await, set(&["zulu hidden"]));
    assert_eq!(alone(ada, "zulu").await, set(&["zulu shared", "zulu hidden"]));
    // archived sessions can be read, and so they are searched
    let path = format!("/spaces/team/sessions/{}", id(&hidden));
    assert_eq!(bob.delete(&path).await.status, 204);
    assert_eq!(alone(&eve, "zulu").await, set(&["zulu hidden"]));
    // who has left finds nothing
    team.server.dismiss(id(&team.space), &eve).await;
    eve.post(SEARCH, json!({ "query": "zulu" })).await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn what_others_hide_changes_no_score() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let bob = team.admitted("bob", "MEMBER").await;
    let shared = session(ada, "shared").await;
    for body in ["apple pear", "pear", "apple plum", "a banana", "plum plum"] {
        say(ada, &shared, body).await;
    }
    let ask = async || results(ada, json!({ "query": "apple plum pear", "context": 0 })).await;
    let before = ask().await;
    let hidden = session(&bob, "hidden").await;
    team.hide(&hidden, true).await;
    for _ in 0..20 {
        say(&bob, &hidden, "plum apple of my own, and much more of it").await;
    }
    assert_eq!(ask().await, before);
}

#[tokio::test]
async fn requests_cannot_read_the_index() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let one = session(ada, "one").await;
    say(ada, &one, "zulu").await;
    let app = as_app(&team.server, Some(ada)).await;
    for sql in ["SELECT * FROM message_index", "DELETE FROM message_index"] {
        let error = app.query(sql, &[]).await.expect_err(sql);
        let error = error.as_db_error().expect("an answer").message().to_owned();
        assert!(error.contains("permission denied"), "{sql}: {error}");
    }
    let stranger = team.server.org("other").await.owner;
    let outsider = team.server.member(&team.org, "mallory", OrgRole::Admin).await;
    for (caller, count) in [(Some(ada), 1), (Some(&stranger), 0), (Some(&outsider), 0), (None, 0)] {
        let app = as_app(&team.server, caller).await;
        for sql in [
            "SELECT * FROM lexical_messages('zulu', 100, 64, 1000, $1, NULL, NULL, NULL, NULL, NULL)",
            "SELECT * FROM literal_messages('{zulu}', 100, $1, NULL, NULL, NULL, NULL, NULL)",
        ] {
            let rows = app.query(sql, &[&id(&team.space)]).await.expect(sql);
            assert_eq!(rows.len(), count, "{sql}");
        }
    }
}

#[tokio::test]
async fn other_scripts_and_stop_words_are_found_literally() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let one = session(ada, "one").await;
    for body in ["数据库备份每天凌晨三点运行。", "Done 🎉", "To be or not to be", "colour"]
    {
        say(ada, &one, body).await;
    }
    for (query, body) in [
        ("凌晨三点", "数据库备份每天凌晨三点运行。"),
        ("🎉", "Done 🎉"),
        ("or not", "To be or not to be"),
    ] {
        let body_of = json!({ "query": query, "context": 0 });
        assert_eq!(found(ada, body_of).await.first().map(String::as_str), Some(body), "{query}");
    }
}

#[tokio::test]
async fn every_violation_is_named() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let answer = ada
        .post(
            SEARCH,
            json!({ "query": "  ", "limit": 101, "context": 6, "authorAgent": "Not A Slug",
                "minScore": 2, "createdAfter": "2026-02-01T00:00:00Z",
                "createdBefore": "2026-01-01T00:00:00Z" }),
        )
        .await;
    answer.fails(400, "VALIDATION_ERROR");
    let named = issues(&answer).join(" ");
    for field in ["query", "limit", "context", "authorAgent", "minScore", "createdBefore"] {
        assert!(named.contains(field), "{field}: {named}");
    }
    for body in [json!({}), json!({ "query": "a\u{0}b" }), json!({ "query": "x".repeat(10_001) })] {
        ada.post(SEARCH, body).await.fails(400, "VALIDATION_ERROR");
    }
    let longest = json!({ "query": "ü ".repeat(5_000) });
    ada.post(SEARCH, longest).await.data(200);
}

#[tokio::test]
async fn among_many_common_words_the_rare_one_is_found() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let many = session(ada, "many").await;
    // behind the server's back, and without an event for each
    let sql = team.server.sql().await;
    let fill = "INSERT INTO messages (id, org_id, session_id, author_type, author_user_id, body)
         SELECT 'c' || lpad(n::text, 24, '0'), $1, $2, 'USER', $3, 'apple pear number ' || n
         FROM generate_series(1, $4::bigint) n";
    let count = i64::from(BUDGET) + 200;
    let (org, user) = (ada.org_id.as_str(), ada.user_id.as_str());
    sql.batch_execute("ALTER TABLE messages DISABLE TRIGGER tell").await.expect("silence");
    sql.execute(fill, &[&org, &id(&many), &user, &count]).await.expect("written");
    sql.batch_execute("ALTER TABLE messages ENABLE TRIGGER tell").await.expect("noise");
    say(ada, &many, "apple pear needle").await;
    let first = async |query: &str| found(ada, json!({ "query": query })).await.swap_remove(0);
    assert_eq!(first("which apple or pear has the needle").await, "apple pear needle");
    assert_eq!(first("apple pear 577").await, "apple pear number 577");
    // nothing but common words: something is found all the same, also in one session
    let common = json!({ "query": "pear apple", "context": 0, "limit": 100 });
    assert_eq!(found(ada, common).await.len(), 100);
    let here = json!({ "query": "needle pear", "sessionId": many["id"] });
    assert_eq!(found(ada, here).await[0], "apple pear needle");
}

#[tokio::test]
async fn an_endless_message_is_found_by_its_beginning() {
    let team = Team::start().await;
    let ada = &team.org.owner;
    let one = session(ada, "one").await;
    let sql = team.server.sql().await;
    // longer than PostgreSQL's text search can take
    let endless = "INSERT INTO messages (id, org_id, session_id, author_type, author_user_id, body)
         SELECT 'c' || lpad('1', 24, '0'), $1, $2, 'USER', $3,
             'needle ' || string_agg(md5(n::text), ' ') FROM generate_series(1, 60000) n";
    let (org, user) = (ada.org_id.as_str(), ada.user_id.as_str());
    sql.execute(endless, &[&org, &id(&one), &user]).await.expect("written");
    let hits = results(ada, json!({ "query": "needle" })).await;
    assert_eq!(hits.len(), 1);
    assert!(hits[0]["highlights"][0]["text"].as_str().expect("a text").contains("needle"));
}
