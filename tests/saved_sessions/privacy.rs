//! A private session is its creator's alone: in both dialects, in its messages and events, and in
//! each of the two layers that see to it.

use super::*;
use crate::fixture::stream;
use crate::isolation::as_app;
use std::collections::BTreeSet;

/// A private session of `author` in the Space that others are in, whatever their roles.
struct Secret {
    server: Server,
    author: Caller,
    others: Vec<Caller>,
    /// As it was saved.
    session: Value,
    /// Its id in the other dialect.
    native: String,
}

/// What nobody else may ever read.
const SECRET: &str = "swordfish";

async fn secret() -> Secret {
    let (server, org, space) = team().await;
    let author = admitted(&server, &org, &space, "author", "MEMBER").await;
    let editor = admitted(&server, &org, &space, "editor", "EDITOR").await;
    let viewer = admitted(&server, &org, &space, "viewer", "VIEWER").await;
    let session = save(
        &author,
        &session(json!({ "title": SECRET, "agent": SECRET, "labels": { "word": [SECRET] } })),
    )
    .await;
    let messages = json!([
        { "role": "user", "content": SECRET },
        { "role": "assistant", "content": SECRET, "usage": { "input_tokens": 5 } },
    ]);
    let session = append(&author, &session, messages).await["session"].take();
    let list = author.get("/spaces/team/sessions").await.data(200);
    let native = list["sessions"][0]["id"].as_str().expect("an id").to_owned();
    Secret { server, author, others: vec![org.owner, editor, viewer], session, native }
}

impl Secret {
    /// Everything that could show it, or change it, asked as everybody else.
    async fn is_hidden(&self) {
        let saved = path(&self.session);
        let native = format!("/spaces/team/sessions/{}", self.native);
        let full = self.session["id"].as_str().expect("an id");
        for who in &self.others {
            for query in ["", "?archived=any&include_workload_sessions=true", "?search=swordfish"] {
                let list = who.get(&format!("{SESSIONS}{query}")).await.bare();
                assert_eq!(list["total"], 0, "{}", who.email);
                let facets = who.get(&format!("{SESSIONS}/facets{query}")).await.bare();
                let nothing = json!({ "labels": {}, "agents": [], "models": [], "users": [] });
                assert_eq!(facets, nothing, "{}", who.email);
            }
            let by_user = format!("{SESSIONS}?user=author&label=word:{SECRET}");
            assert_eq!(who.get(&by_user).await.bare()["total"], 0);
            let messages = json!({ "messages": [{ "role": "user", "content": "x" }] });
            for answer in [
                who.get(&saved).await,
                who.get(&format!("{SESSIONS}/{}", &full[..6])).await,
                who.get(&format!("{saved}/transcript")).await,
                who.patch(&saved, json!({ "title": "x" })).await,
                who.patch(&saved, json!({ "visibility": "workspace" })).await,
                who.post(&format!("{saved}/archive"), json!({})).await,
                who.post(&format!("{saved}/unarchive"), json!({})).await,
                who.post(&format!("{saved}/transcript"), messages).await,
                who.get(&native).await,
                who.patch(&native, json!({ "title": "x" })).await,
                who.delete(&native).await,
                who.get(&format!("{native}/messages")).await,
                stream::refused(who, &format!("{native}/events")).await,
            ] {
                if who.email.starts_with("viewer") && answer.status == 403 {
                    continue; // who may not write at all is told so first
                }
                answer.fails(404, "NOT_FOUND");
                assert!(!answer.text.contains(SECRET), "{}", answer.text);
            }
            for list in ["?includeEval=true", ""] {
                let list = who.get(&format!("/spaces/team/sessions{list}")).await.data(200);
                assert_eq!(list["sessions"], json!([]), "{}", who.email);
            }
            // its id is taken, and that is all
            let answer = who.post(SESSIONS, json!({ "id": full, "model": "m" })).await;
            assert!([409, 403].contains(&answer.status.as_u16()), "{}", answer.text);
            assert!(!answer.text.contains(SECRET), "{}", answer.text);
        }
        // untouched, and all there for its creator
        assert_eq!(self.author.get(&saved).await.bare(), self.session);
        let transcript = self.author.get(&format!("{saved}/transcript")).await.bare();
        assert_eq!(transcript["total"], 2);
        let there = self.author.get(&format!("{native}/messages")).await.data(200);
        assert_eq!(there["total"], 2);
        let found = self.author.get(&format!("{SESSIONS}?search={SECRET}")).await.bare();
        assert_eq!(found["sessions"], json!([self.session]));
    }
}

#[tokio::test]
async fn a_private_session_is_invisible_to_everybody_but_its_creator() {
    secret().await.is_hidden().await;
}

#[tokio::test]
async fn the_queries_hide_it_without_row_level_security() {
    let secret = secret().await;
    let off = "ALTER TABLE sessions DISABLE ROW LEVEL SECURITY; \
               ALTER TABLE messages DISABLE ROW LEVEL SECURITY; \
               ALTER TABLE session_events DISABLE ROW LEVEL SECURITY";
    secret.server.sql().await.batch_execute(off).await.expect("off");
    secret.is_hidden().await;
}

#[tokio::test]
async fn row_level_security_hides_it_without_the_queries() {
    let secret = secret().await;
    let count = async |who: &Caller, table: &str| -> i64 {
        let app = as_app(&secret.server, Some(who)).await;
        app.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.expect("read").get(0)
    };
    for (table, rows) in
        [("sessions", 1), ("messages", 2), ("session_events", 2), ("session_participants", 1)]
    {
        assert_eq!(count(&secret.author, table).await, rows, "{table}");
        for who in &secret.others {
            assert_eq!(count(who, table).await, 0, "{} in {table}", who.email);
        }
    }
    for who in &secret.others {
        let app = as_app(&secret.server, Some(who)).await;
        let share = "UPDATE sessions SET visibility = 'workspace'";
        assert_eq!(app.execute(share, &[]).await.expect("nothing to do"), 0, "{share}");
        // whose a session is, nobody changes
        let take = "UPDATE sessions SET created_by_user_id = caller_user()";
        app.execute(take, &[]).await.expect_err(take);
        let post = "INSERT INTO messages (id, org_id, session_id, author_type, author_user_id, \
                    body, created_at) SELECT $1, caller_org(), $2, 'USER', caller_user(), 'x', now()";
        let id = "c".to_owned() + &"1".repeat(24);
        let refused = app.execute(post, &[&id, &secret.native]).await;
        assert!(refused.is_err(), "{}", who.email);
    }
}

#[tokio::test]
async fn what_follows_a_shared_session_ends_when_nothing_may_be_seen_and_begins_when_it_may() {
    let secret = secret().await;
    let saved = path(&secret.session);
    secret.author.patch(&saved, json!({ "visibility": "workspace" })).await.bare();
    for who in &secret.others {
        assert_eq!(who.get(&saved).await.bare()["visibility"], "workspace");
        let transcript = who.get(&format!("{saved}/transcript")).await.bare();
        assert_eq!(transcript["total"], 2, "{}", who.email);
        let found = who.get(&format!("{SESSIONS}?search={SECRET}")).await.bare();
        assert_eq!(found["total"], 1);
        let native = format!("/spaces/team/sessions/{}/messages", secret.native);
        assert_eq!(who.get(&native).await.data(200)["total"], 2);
    }
}

#[tokio::test]
async fn nobody_elsewhere_sees_anything_shared_or_not() {
    let (server, org, _) = team().await;
    let made = shared(&org.owner, json!({ "title": SECRET })).await;
    append(&org.owner, &made, json!([{ "role": "user", "content": SECRET }])).await;
    let outsider = server.member(&org, "outsider", OrgRole::Owner).await;
    let globex = server.org("globex").await.owner;
    globex.space("Team").await;
    let there = path(&made).replace("/org/acme/", "/org/globex/");
    for suffix in ["", "/transcript"] {
        // not in the Space; of another organization; and looking in its own
        outsider.get(&format!("{}{suffix}", path(&made))).await.refused(403, "forbidden");
        globex.get(&format!("{}{suffix}", path(&made))).await.refused(403, "forbidden");
        globex.get(&format!("{there}{suffix}")).await.refused(404, "not_found");
    }
    let own = SESSIONS.replace("/org/acme/", "/org/globex/");
    assert_eq!(globex.get(&own).await.bare()["total"], 0);
    let facets = globex.get(&format!("{own}/facets")).await.bare();
    assert_eq!(facets["users"], json!([]));
    let rows: BTreeSet<String> = {
        let app = as_app(&server, Some(&globex)).await;
        let rows = app.query("SELECT body FROM messages", &[]).await.expect("read");
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(rows, BTreeSet::new());
}
