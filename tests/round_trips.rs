//! How often a request goes to PostgreSQL and back: a regression is to show here, not in a bill.

use crate::fixture::logs::Logs;
use crate::fixture::{Options, Server};
use serde_json::json;

/// `round_trips` of the newest request to a path.
fn newest(logs: &Logs, method: &str, path: &str) -> u32 {
    let wanted = [format!(" method={method} "), format!(" path={path} ")];
    let lines = logs.lines();
    let line = lines.iter().rev().find(|l| wanted.iter().all(|w| format!("{l} ").contains(w)));
    let line = line.unwrap_or_else(|| panic!("no line for {method} {path}: {lines:#?}"));
    let count = line.split(" round_trips=").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no count: {line}"))
}

#[tokio::test]
async fn a_request_makes_no_more_round_trips_than_it_needs() {
    let (log, logs) = Logs::new();
    // one connection, so that every statement is prepared after the first request
    let options = Options { log, pool_size: 1, ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    let space_path = format!("/projects/{}", space["id"].as_str().expect("an id"));
    let made = org.owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session =
        format!("/spaces/team/sessions/{}", made["session"]["id"].as_str().expect("an id"));
    let private =
        json!({ "content": "Staging deploys happen on Tuesdays.", "visibility": "PRIVATE" });
    let search = json!({ "query": "when do deploys happen?" });
    let saved = "/v1/org/acme/ws/team/sessions";
    let id = uuid::Uuid::new_v4();
    let one = format!("{saved}/{id}");
    let transcript = format!("{one}/transcript");
    let save = json!({ "id": id, "model": "m" });
    let mut at_first = 0;
    let turn = json!({ "role": "user", "content": "x" });
    for _ in 0..3 {
        let first = json!({ "id": uuid::Uuid::new_v4(), "model": "m" });
        org.owner.post(saved, first).await.bare();
        // looked for, made with its participant, and read
        at_first = newest(&logs, "POST", &format!("/api{saved}"));
        org.owner.post(saved, save.clone()).await.bare();
        org.owner.get(saved).await.bare();
        org.owner.get(&format!("{saved}/facets")).await.bare();
        org.owner.get(&one).await.bare();
        org.owner.patch(&one, json!({ "title": "y" })).await.bare();
        org.owner.post(&transcript, json!({ "messages": [turn] })).await.bare();
        org.owner.get(&transcript).await.bare();
        org.owner.get("/projects").await.data(200);
        org.owner.get(&space_path).await.data(200);
        org.owner.get("/spaces/team/sessions").await.data(200);
        org.owner.get(&session).await.data(200);
        org.owner.get("/memory").await.data(200);
        org.owner.get("/me").await.data(200);
        org.owner.note(private.clone()).await;
        org.owner.post("/memory/search", search.clone()).await.data(200);
    }
    assert_eq!(at_first, 8, "the first save of a session");
    // who calls, BEGIN with the caller, the work, COMMIT
    for (method, path, most) in [
        ("GET", "/projects", 4),
        ("GET", &*space_path, 4),
        ("GET", "/spaces/team/sessions", 5),
        ("GET", &*session, 5),
        ("GET", "/memory", 4),
        ("GET", "/me", 5),
        ("POST", "/memory", 4),
        // the organization and its Space in one
        ("GET", saved, 5),
        ("GET", &*format!("{saved}/facets"), 5),
        ("GET", &*one, 5),
        ("GET", &*transcript, 6),
        // again: changed, and read
        ("POST", saved, 6),
        ("PATCH", &*one, 7),
        // what is there, the lock, the ids, the messages, and both read back
        ("POST", &*transcript, 10),
        // words, how many vectors, vectors, notes
        ("POST", "/memory/search", 7),
    ] {
        assert_eq!(newest(&logs, method, &format!("/api{path}")), most, "{method} {path}");
    }
}
