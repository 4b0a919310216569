//! Messages and reactions: `/spaces/{slug}/sessions/{sessionId}/messages`, and below
//! `/spaces/{slug}/messages`.

use crate::fixture::shape::{assert_cuid, assert_timestamp, each, fields, id, issues};
use crate::fixture::{Answer, Caller, Options, Org, Server, embedders, until_somebody_waits};
use crate::isolation::as_app;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use switchy_server::auth::OrgRole;

/// An organization with a Space `team` and a session in it, both made by the OWNER.
struct Team {
    server: Server,
    org: Org,
    space: Value,
    session: Value,
}

impl Team {
    async fn start() -> Team {
        let options = Options { embedder: embedders::none(), ..Options::default() };
        let server = Server::with(options).await;
        let org = server.org("acme").await;
        let space = org.owner.space("Team").await;
        let session = session(&org.owner, "Upgrade").await;
        Team { server, org, space, session }
    }

    fn owner(&self) -> &Caller {
        &self.org.owner
    }

    /// Of the session.
    fn messages(&self) -> String {
        messages_of(&self.session)
    }

    /// A member of the organization, in the Space with a role.
    async fn admitted(&self, name: &str, role: &str) -> Caller {
        let caller = self.server.member(&self.org, name, OrgRole::Member).await;
        self.server.admit(id(&self.space), &caller, role).await;
        caller
    }

    async fn say(&self, caller: &Caller, body: &str) -> Value {
        say(caller, &self.session, body).await
    }

    async fn list(&self) -> Value {
        self.owner().get(&self.messages()).await.data(200)
    }

    async fn archive(&self) {
        let path = format!("/spaces/team/sessions/{}", id(&self.session));
        assert_eq!(self.owner().delete(&path).await.status, 204);
    }
}

async fn session(caller: &Caller, name: &str) -> Value {
    caller.post("/spaces/team/sessions", json!({ "name": name })).await.data(201)["session"].take()
}

fn messages_of(session: &Value) -> String {
    format!("/spaces/team/sessions/{}/messages", id(session))
}

fn reactions_of(message: &Value) -> String {
    format!("/spaces/team/messages/{}/reactions", id(message))
}

/// A reaction's own path: the emoji is percent-encoded.
fn reaction(message: &Value, emoji: &str) -> String {
    let encoded: String = emoji.bytes().map(|b| format!("%{b:02X}")).collect();
    format!("{}/{encoded}", reactions_of(message))
}

async fn say(caller: &Caller, session: &Value, body: &str) -> Value {
    let answer = caller.post(&messages_of(session), json!({ "body": body })).await;
    answer.data(201)["message"].take()
}

#[tokio::test]
async fn a_message_has_exactly_these_fields_and_null_where_nothing_is_known() {
    let team = Team::start().await;
    let answer = team.owner().post(&team.messages(), json!({ "body": " Hello,\n@Claude " })).await;
    assert_eq!(answer.header("location"), Some(format!("/api{}", team.messages()).as_str()));
    let data = answer.data(201);
    assert_eq!(fields(&data), ["message"]);
    let message = &data["message"];
    assert_eq!(
        fields(message),
        [
            "authorAgent",
            "authorType",
            "authorUserId",
            "body",
            "createdAt",
            "id",
            "mentions",
            "model",
            "onBehalfOf",
            "parentMessageId",
            "sessionId",
            "usage",
            "writtenByUserId"
        ]
    );
    assert_cuid(&message["id"]);
    assert_timestamp(&message["createdAt"]);
    assert_eq!(message["sessionId"], team.session["id"]);
    assert_eq!(message["authorType"], "USER");
    assert_eq!(message["authorUserId"], team.owner().user_id.as_str());
    assert_eq!(message["body"], "Hello,\n@Claude", "blanks at its ends are not kept");
    assert_eq!(message["mentions"], json!(["claude"]));
    for field in ["authorAgent", "model", "parentMessageId", "usage"] {
        assert_eq!(message[field], Value::Null, "{field}");
    }
    let mut counts = json!({});
    counts[id(message)] = json!(0);
    let expected =
        json!({ "messages": [message], "replyCount": counts, "reactions": {}, "total": 1 });
    assert_eq!(team.list().await, expected);
}

#[tokio::test]
async fn a_body_has_its_limits_and_every_violation_is_listed() {
    let team = Team::start().await;
    let path = team.messages();
    let post = async |body: Value| team.owner().post(&path, body).await;
    let longest = "🦀".repeat(10_000);
    for body in [longest.clone(), format!("\n {longest} \t"), "\u{1}\u{feff}".into(), "x".into()] {
        let message = post(json!({ "body": body })).await.data(201)["message"].take();
        assert_eq!(message["body"], body.trim());
        assert_eq!(team.list().await["messages"][0], message);
    }
    for (body, paths) in [
        (json!({}), vec!["body"]),
        (json!({ "body": null }), vec!["body"]),
        (json!({ "body": "" }), vec!["body"]),
        (json!({ "body": " \n\u{3000}" }), vec!["body"]),
        (json!({ "body": "x".repeat(10_001) }), vec!["body"]),
        (json!({ "body": "a\u{0}b" }), vec!["body"]),
        (json!({ "body": 1 }), vec!["body"]),
        (json!({ "body": "x", "parentMessageId": "x" }), vec!["parentMessageId"]),
        (
            json!({ "body": "", "parentMessageId": "x", "authorAgent": "X", "model": "" }),
            vec!["authorAgent", "body", "model", "parentMessageId"],
        ),
        (json!({ "body": "x", "model": "m" }), vec!["model"]),
        (json!({ "body": "x", "usage": {} }), vec!["usage"]),
    ] {
        assert_eq!(issues(&post(body.clone()).await), paths, "{body}");
    }
    let nulls = json!({
        "body": "x", "parentMessageId": null, "authorAgent": null, "model": null, "usage": null,
        "authorType": "SYSTEM", "authorUserId": "somebody", "mentions": ["github"],
    });
    let message = post(nulls).await.data(201)["message"].take();
    assert_eq!((&message["authorType"], &message["mentions"]), (&json!("USER"), &json!([])));
    assert_eq!(message["authorUserId"], team.owner().user_id.as_str(), "nobody else's name");
    assert_eq!(team.list().await["total"], 5, "what was refused is not there");
}

#[tokio::test]
async fn mentions_are_what_the_body_says_and_nothing_answers_by_itself() {
    let team = Team::start().await;
    let body = "@Claude and @github, not ada@example.com; @claude: @my_bot-2?";
    let message = team.say(team.owner(), body).await;
    assert_eq!(message["mentions"], json!(["claude", "github", "my_bot-2"]));
    assert_eq!(team.list().await["total"], 1);
}

#[tokio::test]
async fn an_agent_posts_on_behalf_of_the_keys_user_with_a_scope_of_its_own() {
    let team = Team::start().await;
    let agent = team.server.key_for(team.owner(), &["messages:write", "messages:agent"]).await;
    let only_agent = team.server.key_for(team.owner(), &["messages:agent"]).await;
    let path = team.messages();
    let body = json!({
        "body": "It would.", "authorAgent": "claude", "model": " opus-4.5 ",
        "usage": { "inputTokens": 12, "outputTokens": 1_000_000_000_000i64, "costUsd": 0.1234567 },
    });
    // `*` does not include it
    for caller in [team.owner(), &only_agent] {
        let refused = caller.post(&path, body.clone()).await;
        refused.fails(403, "FORBIDDEN");
    }
    let message = agent.post(&path, body).await.data(201)["message"].take();
    assert_eq!(
        message["usage"],
        json!({
            "inputTokens": 12, "outputTokens": 1_000_000_000_000i64, "cacheReadInputTokens": 0,
            "cacheCreationInputTokens": 0, "toolCallCount": 0, "costUsd": 0.1234567,
        })
    );
    assert_eq!(
        (&message["authorType"], &message["authorAgent"], &message["model"]),
        (&json!("AGENT"), &json!("claude"), &json!("opus-4.5"))
    );
    assert_eq!(message["authorUserId"], team.owner().user_id.as_str());
    assert_eq!(team.list().await["messages"][0], message);

    let bare = json!({ "body": "x", "authorAgent": "my_bot-2", "usage": { "costUsd": null } });
    let bare = agent.post(&path, bare).await.data(201)["message"].take();
    assert_eq!(
        (&bare["usage"]["inputTokens"], &bare["usage"]["costUsd"]),
        (&json!(0), &json!(null))
    );
    let silent = json!({ "body": "x", "authorAgent": "ai" });
    let silent = agent.post(&path, silent).await.data(201)["message"].take();
    assert_eq!((&silent["usage"], &silent["model"]), (&Value::Null, &Value::Null));
    assert_eq!(each(&team.list().await["messages"], "authorAgent"), ["ai", "my_bot-2", "claude"]);

    for (agent_slug, usage, paths) in [
        ("Claude", json!({}), vec!["authorAgent"]),
        ("-claude", json!({}), vec!["authorAgent"]),
        ("", json!({}), vec!["authorAgent"]),
        (&*"x".repeat(65), json!({}), vec!["authorAgent"]),
        ("ai", json!({ "inputTokens": -1 }), vec!["usage.inputTokens"]),
        ("ai", json!({ "outputTokens": 1_000_000_000_001i64 }), vec!["usage.outputTokens"]),
        ("ai", json!({ "toolCallCount": 1_000_001 }), vec!["usage.toolCallCount"]),
        ("ai", json!({ "costUsd": -0.01 }), vec!["usage.costUsd"]),
        ("ai", json!({ "costUsd": 1_000_000.5 }), vec!["usage.costUsd"]),
        ("ai", json!({ "cacheReadInputTokens": 1.5 }), vec!["usage.cacheReadInputTokens"]),
        ("ai", json!({ "inputTokens": 1e300 }), vec!["usage.inputTokens"]),
        ("ai", json!(7), vec!["usage"]),
    ] {
        let body = json!({ "body": "x", "authorAgent": agent_slug, "usage": usage });
        assert_eq!(issues(&agent.post(&path, body.clone()).await), paths, "{body}");
    }
}

#[tokio::test]
async fn replies_join_the_thread_of_what_they_reply_to() {
    let team = Team::start().await;
    let path = team.messages();
    let reply = async |parent: &Value| {
        let body = json!({ "body": "reply", "parentMessageId": parent["id"] });
        team.owner().post(&path, body).await.data(201)["message"].take()
    };
    let root = team.say(team.owner(), "root").await;
    let other = team.say(team.owner(), "other").await;
    let first = reply(&root).await;
    let second = reply(&first).await;
    assert_eq!(first["parentMessageId"], root["id"]);
    assert_eq!(second["parentMessageId"], root["id"], "a reply to a reply");
    let list = team.list().await;
    assert_eq!(list["messages"], json!([second, first, other, root]));
    for (message, replies) in [(&root, 2), (&other, 0), (&first, 0), (&second, 0)] {
        assert_eq!(list["replyCount"][id(message)], replies);
    }
    // also where the replies are on another page
    let page = team.owner().get(&format!("{path}?limit=1&before={}", id(&other))).await.data(200);
    assert_eq!((each(&page["messages"], "body"), &page["total"]), (vec!["root"], &json!(4)));
    assert_eq!(page["replyCount"][id(&root)], 2);

    let elsewhere = session(team.owner(), "Elsewhere").await;
    let foreign = say(team.owner(), &elsewhere, "x").await;
    let unknown = "c".to_owned() + &"0".repeat(24);
    for parent in [id(&foreign), &unknown, "nonsense"] {
        let body = json!({ "body": "x", "parentMessageId": parent });
        assert_eq!(issues(&team.owner().post(&path, body).await), ["parentMessageId"], "{parent}");
    }
    assert_eq!(team.list().await["total"], 4);
}

#[tokio::test]
async fn before_pages_through_everything_once_archived_or_not() {
    let team = Team::start().await;
    let mut said = Vec::new();
    for i in 0..55 {
        said.push(team.say(team.owner(), &format!("m{i}")).await);
    }
    said.reverse();
    let path = team.messages();
    let get = async |query: String| team.owner().get(&format!("{path}?{query}")).await;
    let page = get(String::new()).await.data(200);
    assert_eq!(page["messages"], json!(said[..50]), "50 unless told otherwise");
    assert_eq!(page["total"], 55);
    team.archive().await;
    for limit in [1, 20, 100] {
        let (mut seen, mut before) = (Vec::new(), String::new());
        loop {
            let page = get(format!("limit={limit}{before}")).await.data(200);
            let Some(last) = page["messages"].as_array().expect("messages").last() else { break };
            before = format!("&before={}", id(last));
            seen.extend(page["messages"].as_array().expect("messages").clone());
        }
        assert_eq!(seen, said, "{limit}");
    }
    for (query, paths) in [
        ("limit=0", vec!["query.limit"]),
        ("limit=101", vec!["query.limit"]),
        ("limit=x&before=y", vec!["query.before", "query.limit"]),
    ] {
        assert_eq!(issues(&get(query.into()).await), paths, "{query}");
    }
    let elsewhere = session(team.owner(), "Elsewhere").await;
    let foreign = say(team.owner(), &elsewhere, "x").await;
    get(format!("before={}", id(&foreign))).await.fails(404, "NOT_FOUND");
    get(format!("before=c{:024}", 0)).await.fails(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_do_not_shift_while_others_post() {
    const WRITERS: usize = 6;
    const EACH: usize = 12;
    let team = Team::start().await;
    let beside =
        team.server.beside(Options { embedder: embedders::none(), ..Options::default() }).await;
    let path = team.messages();
    let writers = (0..WRITERS).map(|n| {
        let url = if n % 2 == 0 { &team.server.url } else { &beside.url };
        let (caller, path) = (team.owner().at(url), path.clone());
        tokio::spawn(async move {
            for i in 0..EACH {
                let body = json!({ "body": format!("{n} {i}") });
                caller.post(&path, body).await.data(201);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    // whoever begins to read at any moment, reads everything that was there then
    let mut longest = 0;
    while longest < WRITERS * EACH {
        let first = team.owner().get(&format!("{path}?limit=7")).await.data(200);
        let total = usize::try_from(first["total"].as_u64().expect("total")).expect("few");
        let mut seen = first["messages"].as_array().expect("messages").clone();
        // the count may be older than the page, never newer
        assert!(seen.len() >= total.min(7), "{total}");
        while let Some(last) = seen.last() {
            let next = format!("{path}?limit=7&before={}", id(last));
            let page = team.owner().get(&next).await.data(200);
            let page = page["messages"].as_array().expect("messages").clone();
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert!(seen.len() >= total, "{} of {total}", seen.len());
        let ids: BTreeSet<&str> = seen.iter().map(id).collect();
        assert_eq!(ids.len(), seen.len(), "none twice");
        let times: Vec<&str> =
            seen.iter().map(|m| m["createdAt"].as_str().expect("time")).collect();
        assert!(times.is_sorted_by(|newer, older| newer > older), "by time, no two alike");
        // what a writer says is there from its first message on, without a hole
        for n in 0..WRITERS {
            let of_one = seen.iter().rev().filter_map(|m| {
                let (writer, number) = m["body"].as_str()?.split_once(' ')?;
                (writer == n.to_string()).then(|| number.parse::<usize>().expect("a number"))
            });
            assert!(of_one.enumerate().all(|(i, number)| i == number), "a hole");
        }
        longest = seen.len();
    }
    for writer in writers {
        writer.await.expect("written");
    }
    assert_eq!(team.list().await["total"], WRITERS * EACH);
}

#[tokio::test]
async fn posting_moves_the_session_up_and_makes_the_poster_a_participant() {
    let team = Team::start().await;
    let bob = team.admitted("bob", "MEMBER").await;
    let newer = session(team.owner(), "Newer").await;
    let titles = async || {
        let list = team.owner().get("/spaces/team/sessions").await.data(200);
        each(&list["sessions"], "title").iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles().await, ["Newer", "Upgrade"]);
    for _ in 0..2 {
        team.say(&bob, "hello").await;
    }
    assert_eq!(titles().await, ["Upgrade", "Newer"]);
    let path = format!("/spaces/team/sessions/{}", id(&team.session));
    let now = team.owner().get(&path).await.data(200)["session"].take();
    let mut both = [team.owner().user_id.as_str(), bob.user_id.as_str()];
    both.sort_unstable();
    assert_eq!(now["participantUserIds"], json!(both));
    assert_eq!(now["updatedAt"], team.list().await["messages"][0]["createdAt"]);
    let untouched = team.owner().get(&format!("/spaces/team/sessions/{}", id(&newer))).await;
    assert_eq!(untouched.data(200)["session"], newer);
}

#[tokio::test]
async fn members_post_and_react_viewers_read_and_strangers_learn_nothing() {
    let team = Team::start().await;
    let viewer = team.admitted("viewer", "VIEWER").await;
    let message = team.say(team.owner(), "hello").await;
    let outsider = team.server.member(&team.org, "outsider", OrgRole::Admin).await;
    let other = team.server.org("other").await;
    other.owner.space("Team").await; // the same slug
    let theirs = session(&other.owner, "theirs").await;
    let foreign = say(&other.owner, &theirs, "foreign").await;
    team.owner().space("Elsewhere").await;

    let ask = async |caller: &Caller, slug: &str, session: &Value, message: &Value| {
        let list = format!("/spaces/{slug}/sessions/{}/messages", id(session));
        let events = format!("/spaces/{slug}/sessions/{}/events", id(session));
        let reactions = format!("/spaces/{slug}/messages/{}/reactions", id(message));
        [
            caller.get(&list).await,
            caller.get(&events).await,
            caller.post(&list, json!({ "body": "x" })).await,
            caller.post(&reactions, json!({ "emoji": "👍" })).await,
            caller.delete(&format!("{reactions}/%F0%9F%91%8D")).await,
        ]
    };
    for answer in ask(&outsider, "team", &team.session, &message).await {
        answer.fails(403, "FORBIDDEN");
    }
    let unknown = json!({ "id": format!("c{:024}", 0) });
    let nonsense = json!({ "id": "nonsense" });
    for (caller, slug, session, message) in [
        (team.owner(), "team", &theirs, &foreign),
        (team.owner(), "elsewhere", &team.session, &message),
        (team.owner(), "nowhere", &team.session, &message),
        (team.owner(), "TEAM", &team.session, &message),
        (team.owner(), "team", &unknown, &unknown),
        (team.owner(), "team", &nonsense, &nonsense),
        (&other.owner, "team", &team.session, &message),
    ] {
        for answer in ask(caller, slug, session, message).await {
            answer.fails(404, "NOT_FOUND");
        }
    }
    assert_eq!(viewer.get(&team.messages()).await.data(200)["messages"], json!([message]));
    viewer.post(&team.messages(), json!({ "body": "x" })).await.fails(403, "FORBIDDEN");
    viewer.post(&reactions_of(&message), json!({ "emoji": "👍" })).await.fails(403, "FORBIDDEN");
    viewer.delete(&reaction(&message, "👍")).await.fails(403, "FORBIDDEN");
    for role in ["MEMBER", "EDITOR", "OWNER"] {
        team.server.admit(id(&team.space), &viewer, role).await;
        team.say(&viewer, role).await;
        viewer.post(&reactions_of(&message), json!({ "emoji": "👍" })).await.data(201);
        assert_eq!(viewer.delete(&reaction(&message, "👍")).await.status, 204);
    }
    assert_eq!(team.list().await["total"], 4);
    assert_eq!(other.owner.get(&messages_of(&theirs)).await.data(200)["total"], 1);
}

#[tokio::test]
async fn an_archived_session_is_read_and_nothing_else() {
    let team = Team::start().await;
    let message = team.say(team.owner(), "hello").await;
    team.owner().post(&reactions_of(&message), json!({ "emoji": "👍" })).await.data(201);
    let before = team.list().await;
    team.archive().await;
    team.owner().post(&team.messages(), json!({ "body": "late" })).await.fails(409, "CONFLICT");
    let late = team.owner().post(&reactions_of(&message), json!({ "emoji": "🎉" })).await;
    late.fails(409, "CONFLICT");
    team.owner().delete(&reaction(&message, "👍")).await.fails(409, "CONFLICT");
    assert_eq!(team.list().await, before);

    // an archived Space takes everything with it
    let sql = "UPDATE spaces SET archived_at = now() WHERE id = $1";
    team.server.sql().await.execute(sql, &[&id(&team.space)]).await.expect("archived");
    team.owner().get(&team.messages()).await.fails(404, "NOT_FOUND");
    team.owner().post(&team.messages(), json!({ "body": "x" })).await.fails(404, "NOT_FOUND");
    team.owner().delete(&reaction(&message, "👍")).await.fails(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_posted_after_the_archiving_that_it_waited_for() {
    let team = Team::start().await;
    let message = team.say(team.owner(), "hello").await;
    for (path, body) in [
        (team.messages(), json!({ "body": "x" })),
        (reactions_of(&message), json!({ "emoji": "👍" })),
    ] {
        let mut archiving = team.server.sql().await;
        let archiving = archiving.transaction().await.expect("begun");
        let sql = "UPDATE sessions SET archived_at = now() WHERE id = $1";
        archiving.execute(sql, &[&id(&team.session)]).await.expect("archived");
        let (caller, posting) = (team.owner().clone(), path.clone());
        let posting = tokio::spawn(async move { caller.post(&posting, body).await });
        until_somebody_waits(&team.server.sql().await).await;
        archiving.commit().await.expect("committed");
        posting.await.expect("answered").fails(409, "CONFLICT");
        let back = "UPDATE sessions SET archived_at = NULL WHERE id = $1";
        team.server.sql().await.execute(back, &[&id(&team.session)]).await.expect("back");
    }
    let list = team.list().await;
    assert_eq!((&list["total"], &list["reactions"]), (&json!(1), &json!({})));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_organization_while_he_posts_leaves_nothing_behind() {
    let team = Team::start().await;
    let bob = team.admitted("bob", "MEMBER").await;
    let mut leaving = team.server.sql().await;
    let leaving = leaving.transaction().await.expect("begun");
    let sql = "DELETE FROM members WHERE user_id = $1";
    leaving.execute(sql, &[&bob.user_id.as_str()]).await.expect("left");
    let (caller, path) = (bob.clone(), team.messages());
    let posting = tokio::spawn(async move { caller.post(&path, json!({ "body": "bye" })).await });
    until_somebody_waits(&team.server.sql().await).await;
    leaving.commit().await.expect("committed");
    let answer = posting.await.expect("answered");
    // by where he was when it happened: asked who he is, let in, or about to write
    match answer.status.as_u16() {
        401 => {
            answer.fails(401, "AUTH_ERROR");
        }
        403 => {
            answer.fails(403, "FORBIDDEN");
        }
        _ => {
            answer.fails(409, "CONFLICT");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    bob.get("/me").await.fails(401, "AUTH_ERROR");
    assert_eq!(team.list().await["total"], 0);
}

#[tokio::test]
async fn reactions_are_one_of_each_emoji_and_person() {
    let team = Team::start().await;
    let bob = team.admitted("bob", "MEMBER").await;
    let (message, other) =
        (team.say(team.owner(), "hello").await, team.say(&bob, "nobody reacts to this").await);
    let react = async |caller: &Caller, emoji: &str| {
        caller.post(&reactions_of(&message), json!({ "emoji": emoji })).await
    };
    let first = react(team.owner(), "👍").await;
    let path = format!("/api{}", reaction(&message, "👍"));
    assert_eq!(first.header("location"), Some(path.as_str()));
    let data = first.data(201);
    let expected = json!({ "messageId": message["id"], "emoji": "👍", "count": 1 });
    assert_eq!(data, json!({ "reaction": expected }));
    assert_eq!(react(team.owner(), "👍").await.data(201), data, "once more is no error");
    assert_eq!(react(&bob, "👍").await.data(201)["reaction"]["count"], 2);
    // with and without the variation selector: kept as one
    assert_eq!(react(&bob, "❤").await.data(201)["reaction"]["emoji"], "❤️");
    assert_eq!(react(&bob, "❤️").await.data(201)["reaction"]["count"], 1);
    for emoji in ["👎", "😄", "🎉", "😕", "🚀", "👀"] {
        assert_eq!(react(&bob, emoji).await.data(201)["reaction"]["emoji"], emoji);
    }
    let reactions = team.list().await["reactions"].take();
    assert_eq!(fields(&reactions), [id(&message)], "only those that have any");
    assert_eq!(
        reactions[id(&message)],
        json!({
            "👍": 2, "❤️": 1, "👎": 1, "😄": 1, "🎉": 1, "😕": 1, "🚀": 1, "👀": 1
        })
    );

    for emoji in ["", "🍕", "👍🏽", "👍👍", ":+1:", "a"] {
        assert_eq!(issues(&react(&bob, emoji).await), ["emoji"], "{emoji}");
    }
    assert_eq!(issues(&bob.post(&reactions_of(&message), json!({})).await), ["emoji"]);
    for _ in 0..2 {
        let answer = bob.delete(&reaction(&message, "👍")).await;
        assert_eq!((answer.status.as_u16(), &*answer.text), (204, ""));
        let left = team.list().await["reactions"][id(&message)]["👍"].take();
        assert_eq!(left, 1, "one's own alone");
    }
    assert_eq!(bob.delete(&reaction(&message, "❤")).await.status, 204);
    assert_eq!(team.list().await["reactions"][id(&message)]["❤️"], Value::Null);
    assert_eq!(bob.delete(&reaction(&other, "🚀")).await.status, 204, "never was there");
    for emoji in ["🍕", "a", "\u{fffd}"] {
        bob.delete(&reaction(&message, emoji)).await.fails(404, "NOT_FOUND");
    }
    let unknown = json!({ "id": format!("c{:024}", 0) });
    bob.delete(&reaction(&unknown, "👍")).await.fails(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_of_the_same_reaction_at_once_are_one() {
    let team = Team::start().await;
    let message = team.say(team.owner(), "hello").await;
    let clicks = (0..24).map(|i| {
        let (caller, add, remove) =
            (team.owner().clone(), reactions_of(&message), reaction(&message, "👍"));
        tokio::spawn(async move {
            if i % 3 == 0 {
                assert_eq!(caller.delete(&remove).await.status, 204);
            } else {
                let count = caller.post(&add, json!({ "emoji": "👍" })).await.data(201);
                assert_eq!(count["reaction"]["count"], 1);
            }
        })
    });
    for click in clicks.collect::<Vec<_>>() {
        click.await.expect("answered");
    }
    team.owner().post(&reactions_of(&message), json!({ "emoji": "👍" })).await.data(201);
    assert_eq!(team.list().await["reactions"][id(&message)], json!({ "👍": 1 }));
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_was() {
    let team = Team::start().await;
    let path = team.messages();
    let body = json!({ "body": "once" });
    let first = team.owner().post_once(&path, "k", body.clone()).await;
    let second = team.owner().post_once(&path, "k", body).await;
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!((first.text.as_str(), first.status), (second.text.as_str(), second.status));
    assert_eq!(first.header("location"), second.header("location"));
    let other = team.owner().post_once(&path, "k", json!({ "body": "other" })).await;
    other.fails(409, "CONFLICT");
    assert_eq!(team.list().await["total"], 1);

    let message = first.data(201)["message"].take();
    let add = reactions_of(&message);
    let first = team.owner().post_once(&add, "k", json!({ "emoji": "👍" })).await;
    team.owner().delete(&reaction(&message, "👍")).await;
    let second = team.owner().post_once(&add, "k", json!({ "emoji": "👍" })).await;
    assert_eq!((first.text.as_str(), first.status.as_u16()), (second.text.as_str(), 201));
    assert_eq!(team.list().await["reactions"], json!({}), "nothing was done twice");

    // a refusal that would repeat itself is kept as well, and leaves nothing behind
    let refused = team.owner().post_once(&path, "r", json!({ "body": "" })).await;
    let again = team.owner().post_once(&path, "r", json!({ "body": "" })).await;
    assert_eq!((again.text, again.status.as_u16()), (refused.text, 400));
    assert_eq!(team.list().await["total"], 1);
}

#[tokio::test]
async fn methods_that_there_are_not_are_named() {
    let team = Team::start().await;
    let message = team.say(team.owner(), "hello").await;
    let put = team.owner().request(Method::PUT, &team.messages()).json(&json!({}));
    let answer = Answer::of(put).await;
    answer.fails(405, "NOT_FOUND");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
    let answer = team.owner().get(&reactions_of(&message)).await;
    answer.fails(405, "NOT_FOUND");
}

/// Who sees what in [`sights`]: shared and private sessions, messages and reactions in each.
struct Sights {
    team: Team,
    member: Caller,
    outsider: Caller,
    stranger: Caller,
    shared: Value,
    private: Value,
    in_shared: Value,
    in_private: Value,
}

/// A Space with a session for all and one that its author made private; somebody of the
/// organization who is not in it; somebody of another organization with the same in his own.
async fn sights() -> Sights {
    let team = Team::start().await;
    let member = team.admitted("member", "EDITOR").await;
    let outsider = team.server.member(&team.org, "outsider", OrgRole::Owner).await;
    let stranger = team.server.org("other").await.owner;
    stranger.space("Team").await;
    let theirs = session(&stranger, "theirs").await;
    say(&stranger, &theirs, "theirs").await;
    let private = session(team.owner(), "private").await;
    let sql = "UPDATE sessions SET visibility = 'private' WHERE id = $1";
    team.server.sql().await.execute(sql, &[&id(&private)]).await.expect("made private");
    let shared = team.session.clone();
    let in_shared = say(team.owner(), &shared, "for all").await;
    let in_private = say(team.owner(), &private, "for me").await;
    for message in [&in_shared, &in_private] {
        team.owner().post(&reactions_of(message), json!({ "emoji": "👍" })).await.data(201);
    }
    Sights { team, member, outsider, stranger, shared, private, in_shared, in_private }
}

impl Sights {
    async fn check(&self) {
        let owner = self.team.owner();
        for session in [&self.shared, &self.private] {
            assert_eq!(owner.get(&messages_of(session)).await.data(200)["total"], 1);
        }
        let expected = json!([self.in_shared]);
        assert_eq!(
            self.member.get(&messages_of(&self.shared)).await.data(200)["messages"],
            expected
        );
        for (caller, session, message, status) in [
            (&self.member, &self.private, &self.in_private, 404),
            (&self.outsider, &self.shared, &self.in_shared, 403),
            (&self.outsider, &self.private, &self.in_private, 403),
            (&self.stranger, &self.shared, &self.in_shared, 404),
            (&self.stranger, &self.private, &self.in_private, 404),
        ] {
            let list = messages_of(session);
            let events = list.replace("/messages", "/events");
            for answer in [
                caller.get(&list).await,
                caller.get(&format!("{list}?before={}", id(message))).await,
                caller.get(&events).await,
                caller.post(&list, json!({ "body": "x" })).await,
                caller.post(&reactions_of(message), json!({ "emoji": "🎉" })).await,
                caller.delete(&reaction(message, "👍")).await,
            ] {
                assert_eq!(answer.status, status, "{}: {}", caller.email, answer.text);
            }
        }
        // and what one does not see cannot be replied to
        let body = json!({ "body": "x", "parentMessageId": self.in_private["id"] });
        let reply = self.member.post(&messages_of(&self.shared), body).await;
        assert_eq!(issues(&reply), ["parentMessageId"]);
    }
}

#[tokio::test]
async fn a_session_that_one_does_not_see_has_no_messages_reactions_or_events() {
    let sights = sights().await;
    sights.check().await;
    // the queries' own predicate holds alone
    let sql = sights.team.server.sql().await;
    let tables = "SELECT string_agg(format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY, \
                  DISABLE ROW LEVEL SECURITY', relname), ';') FROM pg_class \
                  WHERE relrowsecurity AND relnamespace = 'public'::regnamespace";
    let off: String = sql.query_one(tables, &[]).await.expect("tables").get(0);
    sql.batch_execute(&off).await.expect("off");
    let app = as_app(&sights.team.server, None).await;
    let all = app.query_one("SELECT count(*) FROM messages", &[]).await.expect("read");
    assert_eq!(all.get::<_, i64>(0), 3, "it is off indeed");
    sights.check().await;
}

#[tokio::test]
async fn row_level_security_alone_shows_the_messages_of_visible_sessions() {
    let sights = sights().await;
    let server = &sights.team.server;
    for (caller, sessions) in [
        (sights.team.owner(), vec![&sights.shared, &sights.private]),
        (&sights.member, vec![&sights.shared]),
        (&sights.outsider, vec![]),
    ] {
        let app = as_app(server, Some(caller)).await;
        let expected: BTreeSet<String> = sessions.iter().map(|s| id(s).to_owned()).collect();
        for table in ["messages", "message_reactions", "session_events"] {
            let sql = format!("SELECT session_id FROM {table}");
            let rows = app.query(&sql, &[]).await.expect("read");
            let seen: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(seen, expected, "{} in {table}", caller.email);
        }
    }
    let stranger = as_app(server, Some(&sights.stranger)).await;
    let rows = stranger.query("SELECT body FROM messages", &[]).await.expect("read");
    assert_eq!(rows.iter().map(|r| r.get(0)).collect::<Vec<&str>>(), ["theirs"]);
    let nobody = as_app(server, None).await;
    for table in ["messages", "message_reactions", "session_events"] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(nobody.query_one(&sql, &[]).await.expect("read").get::<_, i64>(0), 0, "{table}");
    }
}

#[tokio::test]
async fn the_app_role_speaks_for_its_caller_alone_and_rewrites_nothing() {
    let sights = sights().await;
    let server = &sights.team.server;
    let app = as_app(server, Some(&sights.member)).await;
    let (org, me) = (sights.member.org_id.to_string(), sights.member.user_id.to_string());
    let owner = sights.team.owner().user_id.to_string();
    let denied = tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE;
    let post = "INSERT INTO messages (id, org_id, session_id, author_type, author_user_id, body) \
                VALUES ('c9', $1, $2, 'USER', $3, 'x')";
    let react = "INSERT INTO message_reactions (org_id, session_id, message_id, user_id, emoji) \
                 VALUES ($1, $2, $3, $4, '👀')";
    let (shared, private) = (id(&sights.shared), id(&sights.private));
    for refused in [
        app.execute(post, &[&org, &shared, &owner]).await,
        app.execute(post, &[&org, &private, &me]).await,
        app.execute(react, &[&org, &shared, &id(&sights.in_shared), &owner]).await,
        app.execute(react, &[&org, &private, &id(&sights.in_private), &me]).await,
        app.execute("UPDATE messages SET body = 'x'", &[]).await,
        app.execute("DELETE FROM messages", &[]).await,
        app.execute("UPDATE message_reactions SET emoji = 'x'", &[]).await,
        app.execute("DELETE FROM session_events", &[]).await,
        app.execute("UPDATE session_events SET payload = '{}'", &[]).await,
        app.execute(
            "INSERT INTO session_events (org_id, session_id, seq, type, created_at) \
             VALUES ($1, $2, 99, 'x', now())",
            &[&org, &shared],
        )
        .await,
        app.execute(
            "SELECT record_session_event($1, $2, 'x', NULL, '{}', now())",
            &[&org, &shared],
        )
        .await,
    ] {
        assert_eq!(refused.expect_err("refused").code(), Some(&denied));
    }
    let others = app.execute("DELETE FROM message_reactions", &[]).await.expect("allowed");
    assert_eq!(others, 0, "others' reactions are not one's own");
    let list = sights.team.owner().get(&messages_of(&sights.shared)).await.data(200);
    assert_eq!(list["messages"], json!([sights.in_shared]));
    assert_eq!(list["reactions"][id(&sights.in_shared)], json!({ "👍": 1 }));
    // a number that a refused insert had taken is given again
    assert_eq!(list["total"], 1);
}
