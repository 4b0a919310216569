//! Transcripts: messages that agents bring along, with what they took to generate.

use super::*;
use crate::fixture::shape::{assert_cuid, assert_timestamp, each, fields};
use crate::fixture::stream::Stream;

fn transcript(session: &Value) -> String {
    format!("{}/transcript", path(session))
}

fn turn(role: &str, content: &str) -> Value {
    json!({ "id": uuid(), "role": role, "content": content })
}

#[tokio::test]
async fn a_message_has_exactly_these_fields_and_is_read_back_as_it_was_sent() {
    let (_server, org, _) = team().await;
    let made = save(&org.owner, &session(json!({ "agent": "release-bot" }))).await;
    let (user, assistant, tool) = (turn("user", "hi \u{1f980}\n"), uuid(), uuid());
    let call = json!({ "id": "call-1", "type": "function", "function": { "name": "ls", "arguments": "{}" } });
    let messages = json!([
        user,
        {
            "id": assistant, "role": "assistant", "parent_id": user["id"], "tool_calls": [call],
            "metadata": { "latency_ms": 12.5, "nested": { "a": [1, null, "x"] } },
            "usage": {
                "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 4, "cost_usd": 0.0123,
            },
        },
        { "id": tool, "role": "tool", "content": "Cargo.toml", "tool_call_id": "call-1", "parent_id": assistant },
    ]);
    let appended = append(&org.owner, &made, messages).await;
    assert_eq!(fields(&appended), ["appended", "messages", "session"]);
    assert_eq!(appended["appended"], 3);
    let first = &appended["messages"][0];
    assert_eq!(
        fields(first),
        [
            "agent",
            "content",
            "created_at",
            "id",
            "metadata",
            "model",
            "parent_id",
            "role",
            "tool_call_id",
            "tool_calls",
            "usage",
            "user_id"
        ]
    );
    assert_eq!(first["content"], "hi \u{1f980}\n");
    assert_eq!(first["user_id"], org.owner.user_id.as_str());
    for absent in ["agent", "metadata", "model", "parent_id", "tool_call_id", "tool_calls", "usage"]
    {
        assert_eq!(first[absent], Value::Null, "{absent}");
    }
    assert_timestamp(&first["created_at"]);
    let second = &appended["messages"][1];
    assert_eq!(second["content"], "");
    assert_eq!(second["agent"], "release-bot");
    assert_eq!(second["model"], "claude-sonnet-4-5");
    assert_eq!(second["parent_id"], user["id"]);
    assert_eq!(second["tool_calls"], json!([call]));
    assert_eq!(
        second["metadata"],
        json!({ "latency_ms": 12.5, "nested": { "a": [1, null, "x"] } })
    );
    assert_eq!(
        second["usage"],
        json!({
            "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 3,
            "cache_creation_input_tokens": 4, "cost_usd": 0.0123,
        })
    );
    let third = &appended["messages"][2];
    assert_eq!((&third["role"], &third["tool_call_id"]), (&json!("tool"), &json!("call-1")));
    assert_eq!(third["parent_id"], json!(assistant));

    let read = org.owner.get(&transcript(&made)).await.bare();
    assert_eq!(read["messages"], appended["messages"]);
    assert_eq!(
        fields(&read),
        ["has_next", "has_previous", "limit", "messages", "page", "total", "total_pages"]
    );
    let session = &appended["session"];
    assert_eq!(session, &org.owner.get(&path(&made)).await.bare());
    assert_eq!(session["message_count"], 3);
    assert_eq!(session["preview_text"], "hi \u{1f980}\n");
    assert_eq!(session["last_message_at"], third["created_at"]);
}

#[tokio::test]
async fn usage_is_summed_from_the_messages_with_the_rules_for_null_and_zero() {
    let (_server, org, _) = team().await;
    let made = shared(&org.owner, json!({})).await;
    let usage = |session: &Value| session["usage"].clone();
    let say = async |usage: Value| {
        let message = json!([{ "role": "assistant", "content": "x", "usage": usage }]);
        append(&org.owner, &made, message).await["session"].take()
    };
    // messages without data are no generations
    let quiet = json!([
        turn("user", "a"),
        { "role": "assistant", "content": "b", "tool_calls": [{}, {}], "usage": null },
    ]);
    let session = append(&org.owner, &made, quiet).await["session"].take();
    assert_eq!(usage(&session)["total_cost_usd"], 0.0);
    assert_eq!(usage(&session)["last_generation_input_tokens"], Value::Null);
    assert_eq!(usage(&session)["total_tool_call_count"], 2);
    assert_eq!(usage(&session)["total_message_count"], 2);
    // sums; costs exactly
    say(json!({ "input_tokens": 10, "cost_usd": 0.1 })).await;
    let session = say(json!({
        "input_tokens": 30, "output_tokens": 7, "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 6, "cost_usd": 0.2,
    }))
    .await;
    let expected = json!({
        "total_input_tokens": 40, "total_output_tokens": 7, "total_cache_read_input_tokens": 5,
        "total_cache_creation_input_tokens": 6, "total_tool_call_count": 2, "total_cost_usd": 0.3,
        "last_generation_input_tokens": 30, "compaction_count": 0, "current_message_count": 4,
        "total_message_count": 4,
    });
    assert_eq!(usage(&session), expected);
    // the last generation is the last with data
    let session =
        append(&org.owner, &made, json!([turn("assistant", "y")])).await["session"].take();
    assert_eq!(usage(&session)["last_generation_input_tokens"], 30);
    // one without a known cost: no partial sum, for good
    let session = say(json!({})).await;
    assert_eq!(usage(&session)["total_cost_usd"], Value::Null);
    assert_eq!(usage(&session)["last_generation_input_tokens"], 0);
    assert_eq!(usage(&session)["total_input_tokens"], 40);
    let session = say(json!({ "cost_usd": 1 })).await;
    assert_eq!(usage(&session)["total_cost_usd"], Value::Null);
    // the list and the other dialect say the same
    let list = org.owner.get(SESSIONS).await.bare();
    assert_eq!(list["sessions"][0]["usage"], usage(&session));
    let native = org.owner.get("/spaces/team/sessions").await.data(200);
    let native = &native["sessions"][0]["usage"];
    assert_eq!(
        *native,
        json!({
            "totalInputTokens": 40, "totalOutputTokens": 7, "totalCacheReadInputTokens": 5,
            "totalCacheCreationInputTokens": 6, "totalToolCallCount": 2, "totalCostUsd": null,
            "lastGenerationInputTokens": 0, "messageCount": 7,
        })
    );
}

#[tokio::test]
async fn the_count_is_the_larger_of_what_is_said_and_what_is_there() {
    let (_server, org, _) = team().await;
    let made = save(&org.owner, &session(json!({ "message_count": 2 }))).await;
    for (n, expected) in [(1, 2), (2, 2), (3, 3)] {
        let session = append(&org.owner, &made, json!([turn("user", "x")])).await["session"].take();
        assert_eq!(session["message_count"], expected);
        assert_eq!(session["usage"]["total_message_count"], n);
    }
    let again = json!({ "id": made["id"], "model": "m", "message_count": 1 });
    assert_eq!(save(&org.owner, &again).await["message_count"], 3);
    let change = json!({ "message_count": 50 });
    assert_eq!(org.owner.patch(&path(&made), change).await.bare()["message_count"], 50);
}

#[tokio::test]
async fn a_message_that_is_there_is_left_out_unless_it_says_something_else() {
    let (_server, org, _) = team().await;
    let made = save(&org.owner, &session(json!({}))).await;
    let (a, b, c) = (turn("user", "a"), turn("assistant", "b"), turn("user", "c"));
    let first = append(&org.owner, &made, json!([a, b])).await;
    let again = append(&org.owner, &made, json!([a, b, c])).await;
    assert_eq!(again["appended"], 1);
    assert_eq!(again["messages"][0], first["messages"][0]);
    assert_eq!(again["messages"][1], first["messages"][1]);
    let nothing = append(&org.owner, &made, json!([c, a])).await;
    assert_eq!(nothing["appended"], 0);
    assert_eq!(each(&nothing["messages"], "content"), ["c", "a"], "as asked");
    assert_eq!(nothing["session"], again["session"]);
    let total = async || org.owner.get(&transcript(&made)).await.bare()["total"].take();
    for (field, value) in [("content", "other"), ("role", "system")] {
        let mut other = a.clone();
        other[field] = json!(value);
        let body = json!({ "messages": [turn("user", "new"), other] });
        org.owner.post(&transcript(&made), body).await.refused(409, "already_exists");
    }
    assert_eq!(total().await, 3, "all of a request or nothing");
    // ids are a session's own
    let elsewhere = save(&org.owner, &session(json!({}))).await;
    assert_eq!(append(&org.owner, &elsewhere, json!([a])).await["appended"], 1);
    // without an id nothing is recognized, and each gets one
    let anonymous = json!([{ "role": "user", "content": "x" }, { "role": "user", "content": "x" }]);
    let twice = append(&org.owner, &made, anonymous).await;
    assert_eq!(twice["appended"], 2);
    assert_ne!(twice["messages"][0]["id"], twice["messages"][1]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_turns_sent_many_times_at_once_are_there_once_and_in_order() {
    let options = Options { pool_size: 10, ..Options::default() };
    let (_server, org, _) = team_with(options).await;
    let made = shared(&org.owner, json!({})).await;
    let turns: Vec<Value> = (0..20).map(|i| turn("user", &format!("{i:02}"))).collect();
    let all = (0..10).map(|_| {
        let (owner, path) = (org.owner.clone(), transcript(&made));
        let body = json!({ "messages": turns });
        tokio::spawn(async move { owner.post(&path, body).await.bare()["appended"].as_i64() })
    });
    let appended = futures::future::join_all(all).await.into_iter();
    let appended: i64 = appended.map(|n| n.expect("answered").expect("a count")).sum();
    assert_eq!(appended, 20);
    let read = org.owner.get(&transcript(&made)).await.bare();
    let expected: Vec<String> = (0..20).map(|i| format!("{i:02}")).collect();
    assert_eq!(each(&read["messages"], "content"), expected);
}

#[tokio::test]
async fn a_message_continues_one_of_the_session_or_an_earlier_one_of_the_request() {
    let (_server, org, _) = team().await;
    let made = save(&org.owner, &session(json!({}))).await;
    let other = save(&org.owner, &session(json!({}))).await;
    let theirs = append(&org.owner, &other, json!([turn("user", "x")])).await;
    let first = append(&org.owner, &made, json!([turn("user", "x")])).await["messages"][0].take();
    let (mut b, mut c) = (turn("user", "b"), turn("user", "c"));
    b["parent_id"] = first["id"].clone();
    c["parent_id"] = b["id"].clone();
    let appended = append(&org.owner, &made, json!([b, c])).await;
    assert_eq!(appended["messages"][1]["parent_id"], b["id"]);
    let mut own = turn("user", "own");
    own["parent_id"] = own["id"].clone();
    let with = |parent: &Value| json!({ "role": "user", "content": "x", "parent_id": parent });
    let mut forward = turn("user", "later");
    forward["parent_id"] = json!(uuid());
    let mut later = turn("user", "target");
    later["id"] = forward["parent_id"].clone();
    let body = json!({ "messages": [
        own, with(&theirs["messages"][0]["id"]), with(&json!(uuid())), forward, later, first, first,
    ] });
    let body = {
        // only what is sent of a message counts
        let mut body = body;
        for i in [5, 6] {
            body["messages"][i] = json!({ "id": first["id"], "role": "user", "content": "x" });
        }
        body
    };
    assert_eq!(
        places(&org.owner.post(&transcript(&made), body).await),
        [
            "body.messages.0.parent_id",
            "body.messages.1.parent_id",
            "body.messages.2.parent_id",
            "body.messages.3.parent_id",
            "body.messages.6.id"
        ]
    );
    assert_eq!(org.owner.get(&transcript(&made)).await.bare()["total"], 3);
}

#[tokio::test]
async fn pages_go_from_the_oldest_message_to_the_newest() {
    let (_server, org, _) = team().await;
    let made = save(&org.owner, &session(json!({}))).await;
    let empty = org.owner.get(&transcript(&made)).await.bare();
    let expected = json!({
        "messages": [], "total": 0, "page": 1, "limit": 50, "total_pages": 0, "has_next": false,
        "has_previous": false,
    });
    assert_eq!(empty, expected);
    let turns: Vec<Value> = (0..5).map(|i| turn("user", &i.to_string())).collect();
    append(&org.owner, &made, json!(turns)).await;
    for (query, expected, next, previous) in [
        ("", "01234", false, false),
        ("?limit=2", "01", true, false),
        ("?limit=2&page=2", "23", true, true),
        ("?limit=2&page=3", "4", false, true),
        ("?limit=2&page=4", "", false, true),
        ("?limit=100&page=1000000", "", false, true),
    ] {
        let read = org.owner.get(&format!("{}{query}", transcript(&made))).await.bare();
        assert_eq!(each(&read["messages"], "content").concat(), expected, "{query}");
        assert_eq!(read["total"], 5);
        assert_eq!((&read["has_next"], &read["has_previous"]), (&json!(next), &json!(previous)));
    }
    for (query, place) in [
        ("limit=0", "query.limit"),
        ("limit=101", "query.limit"),
        ("page=0", "query.page"),
        ("page=x", "query.page"),
    ] {
        let answer = org.owner.get(&format!("{}?{query}", transcript(&made))).await;
        assert_eq!(places(&answer), [place]);
    }
}

#[tokio::test]
async fn an_archived_session_takes_no_messages_and_shows_those_it_has() {
    let (_server, org, _) = team().await;
    let made = save(&org.owner, &session(json!({}))).await;
    append(&org.owner, &made, json!([turn("user", "a")])).await;
    org.owner.post(&format!("{}/archive", path(&made)), json!({})).await.bare();
    let body = json!({ "messages": [turn("user", "b")] });
    org.owner.post(&transcript(&made), body.clone()).await.refused(409, "already_exists");
    assert_eq!(org.owner.get(&transcript(&made)).await.bare()["total"], 1);
    org.owner.post(&format!("{}/unarchive", path(&made)), json!({})).await.bare();
    org.owner.post(&transcript(&made), body).await.bare();
    let nowhere = format!("{SESSIONS}/{}/transcript", uuid());
    let body = json!({ "messages": [turn("user", "b")] });
    org.owner.post(&nowhere, body).await.refused(404, "not_found");
    org.owner.get(&nowhere).await.refused(404, "not_found");
}

#[tokio::test]
async fn everything_that_is_wrong_with_messages_is_told_at_once() {
    let (_server, org, _) = team().await;
    let made = save(&org.owner, &session(json!({}))).await;
    let post = |messages: Value| {
        let (owner, path) = (org.owner.clone(), transcript(&made));
        async move { owner.post(&path, json!({ "messages": messages })).await }
    };
    let long = |n: usize| "x".repeat(n);
    for (message, expected) in [
        (json!({}), &["content", "role"][..]),
        (json!({ "role": "robot" }), &["content", "role"]),
        (json!({ "role": "user" }), &["content"]),
        (json!({ "role": "user", "content": "" }), &["content"]),
        (json!({ "role": "assistant", "tool_calls": [] }), &["content"]),
        (json!({ "role": "user", "content": ["x"] }), &["content"]),
        (json!({ "role": "user", "content": long(100_001) }), &["content"]),
        (json!({ "role": "user", "content": "a\u{0}" }), &["content"]),
        (
            json!({ "role": "user", "content": "x", "id": "1", "parent_id": 7 }),
            &["id", "parent_id"],
        ),
        (json!({ "role": "user", "content": "x", "usage": {} }), &["usage"]),
        (json!({ "role": "tool", "content": "x", "usage": { "input_tokens": 1 } }), &["usage"]),
        (json!({ "role": "user", "content": "x", "tool_calls": [{}] }), &["tool_calls"]),
        (json!({ "role": "user", "content": "x", "tool_call_id": "c" }), &["tool_call_id"]),
        (json!({ "role": "tool", "content": "x", "tool_call_id": "" }), &["tool_call_id"]),
        (json!({ "role": "tool", "content": "x", "tool_call_id": long(257) }), &["tool_call_id"]),
        (json!({ "role": "assistant", "tool_calls": ["x"] }), &["tool_calls.0"]),
        (
            json!({ "role": "assistant", "tool_calls": [{ "a": long(100 * 1024) }] }),
            &["tool_calls"],
        ),
        (json!({ "role": "assistant", "tool_calls": vec![json!({}); 101] }), &["tool_calls"]),
        (json!({ "role": "user", "content": "x", "metadata": [] }), &["metadata"]),
        (
            json!({ "role": "user", "content": "x", "metadata": { "a": long(16 * 1024) } }),
            &["metadata"],
        ),
        (
            json!({ "role": "user", "content": "x", "metadata": { "a\u{0}": 1 } }),
            &["metadata.a\u{0}"],
        ),
        (
            json!({ "role": "assistant", "content": "x", "usage": {
                "input_tokens": -1, "output_tokens": 1_000_000_000_001_i64,
                "cache_read_input_tokens": -1, "cache_creation_input_tokens": -1, "cost_usd": -0.1,
            } }),
            &[
                "usage.cache_creation_input_tokens",
                "usage.cache_read_input_tokens",
                "usage.cost_usd",
                "usage.input_tokens",
                "usage.output_tokens",
            ],
        ),
        (
            json!({ "role": "assistant", "content": "x", "usage": { "input_tokens": 1.5 } }),
            &["usage.input_tokens"],
        ),
        (
            json!({ "role": "assistant", "content": "x", "usage": { "cost_usd": 1_000_000.5 } }),
            &["usage.cost_usd"],
        ),
    ] {
        let answer = post(json!([turn("user", "fine"), message])).await;
        let expected: Vec<String> =
            expected.iter().map(|place| format!("body.messages.1.{place}")).collect();
        assert_eq!(
            places(&answer),
            expected,
            "{}",
            &message.to_string()[..message.to_string().len().min(200)]
        );
    }
    assert_eq!(places(&post(json!([])).await), ["body.messages"]);
    assert_eq!(places(&post(json!(vec![turn("user", "x"); 201])).await), ["body.messages"]);
    let none = org.owner.post(&transcript(&made), json!({})).await;
    assert_eq!(places(&none), ["body.messages"]);
    assert_eq!(org.owner.get(&transcript(&made)).await.bare()["total"], 0);
    // the most that fits
    let most = json!([
        { "role": "user", "content": long(100_000), "metadata": { "a": long(16 * 1024 - 8) } },
        { "role": "assistant", "tool_calls": vec![json!({}); 100],
          "usage": { "input_tokens": 1_000_000_000_000_i64, "cost_usd": 1_000_000 } },
    ]);
    assert_eq!(post(most).await.bare()["appended"], 2);
    let many: Vec<Value> = (0..200).map(|_| json!({ "role": "user", "content": "x" })).collect();
    assert_eq!(post(json!(many)).await.bare()["appended"], 200);
}

#[tokio::test]
async fn the_same_idempotency_key_appends_once() {
    let (_server, org, _) = team().await;
    let made = save(&org.owner, &session(json!({}))).await;
    let body = json!({ "messages": [{ "role": "user", "content": "x" }] });
    let first = org.owner.post_once(&transcript(&made), "k", body.clone()).await;
    let again = org.owner.post_once(&transcript(&made), "k", body).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.text, again.text);
    assert_eq!(org.owner.get(&transcript(&made)).await.bare()["total"], 1);
}

#[tokio::test]
async fn a_transcript_and_the_messages_of_the_session_are_one() {
    let (server, org, space) = team().await;
    let eve = admitted(&server, &org, &space, "eve", "MEMBER").await;
    let made = shared(&org.owner, json!({ "agent": "bot" })).await;
    let list = org.owner.get("/spaces/team/sessions").await.data(200);
    let native =
        format!("/spaces/team/sessions/{}", list["sessions"][0]["id"].as_str().expect("id"));
    let messages = format!("{native}/messages");
    append(
        &org.owner,
        &made,
        json!([
            turn("user", "question"),
            { "role": "assistant", "content": "answer", "usage": { "input_tokens": 9, "output_tokens": 2 } },
            turn("system", "note"),
            { "role": "tool", "content": "result" },
        ]),
    )
    .await;
    let posted = eve.post(&messages, json!({ "body": "and then?" })).await.data(201);
    let reply = json!({ "body": "this", "parentMessageId": posted["message"]["id"] });
    org.owner.post(&messages, reply).await.data(201);

    let there = org.owner.get(&messages).await.data(200)["messages"].take();
    assert_eq!(each(&there, "body"), ["this", "and then?", "result", "note", "answer", "question"]);
    let types = ["USER", "USER", "SYSTEM", "SYSTEM", "AGENT", "USER"];
    assert_eq!(each(&there, "authorType"), types);
    assert_eq!(there[4]["authorAgent"], "bot");
    assert_eq!(there[4]["usage"]["inputTokens"], 9);
    there.as_array().expect("messages").iter().for_each(|m| assert_cuid(&m["id"]));

    let here = org.owner.get(&transcript(&made)).await.bare()["messages"].take();
    assert_eq!(
        each(&here, "content"),
        ["question", "answer", "note", "result", "and then?", "this"]
    );
    assert_eq!(each(&here, "role"), ["user", "assistant", "system", "tool", "user", "user"]);
    assert_eq!(here[4]["user_id"], eve.user_id.as_str());
    assert_eq!(here[5]["parent_id"], here[4]["id"], "its thread");
    // what was posted has a UUID too, and can be continued
    let continued = json!([{ "role": "assistant", "content": "x", "parent_id": here[5]["id"] }]);
    let appended = append(&org.owner, &made, continued).await;
    assert_eq!(appended["messages"][0]["parent_id"], here[5]["id"]);
    assert_eq!(appended["session"]["message_count"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_and_changed_reaches_those_who_follow_the_session() {
    let (_server, org, _) = team().await;
    let made = shared(&org.owner, json!({})).await;
    let list = org.owner.get("/spaces/team/sessions").await.data(200);
    let id = list["sessions"][0]["id"].as_str().expect("an id").to_owned();
    let events = format!("/spaces/team/sessions/{id}/events");
    let mut stream = Stream::open(&org.owner, &events, None).await;
    append(&org.owner, &made, json!([turn("user", "one"), turn("assistant", "two")])).await;
    for body in ["one", "two"] {
        let event = stream.event().await;
        assert_eq!(
            (event.event.as_str(), &event.data["message"]["body"]),
            ("message.created", &json!(body))
        );
    }
    org.owner.patch(&path(&made), json!({ "title": "New" })).await.bare();
    let event = stream.event().await;
    assert_eq!(event.event, "session.updated");
    assert_eq!(event.data["session"]["title"], "New");
    assert_eq!(event.data["session"]["externalId"], made["id"]);
    org.owner.post(&format!("{}/archive", path(&made)), json!({})).await.bare();
    assert_eq!(stream.event().await.event, "session.archived");
}
