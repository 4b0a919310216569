//! Searches and facets that cost more than their share.

use crate::fixture::embedders::Obedient;
use crate::fixture::mcp::Mcp;
use crate::fixture::stream::Stream;
use crate::fixture::{Answer, Caller, Options, Org, Server, embedders, until_somebody_waits};
use crate::isolation::as_app;
use crate::search_at_scale::{fill, scores};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use switchy_server::auth::OrgRole;
use switchy_server::limits::Concurrency;
use switchy_server::search::embedder::{
    EmbedError, Embedder, NoteEmbedding, Owner, QueryEmbedding,
};
use switchy_server::store::search::{LEXICAL_BUDGET, MEASURED_FROM, refresh_statistics};

fn words_alone() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

/// As many words as a question may have.
const WORDS: usize = 64;

/// That many words, which no dictionary knows.
fn words() -> String {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n).expect("few"));
    let words = (0..WORDS).map(|n| format!("zq{}{}x", letter(n / 26), letter(n % 26)));
    words.collect::<Vec<_>>().join(" ")
}

/// How much was read, in one transaction of `caller`, of what is kept apart of the rows of `table`
/// because it is long: each look at a long text's words reads all of its pieces.
async fn pieces_read(server: &Server, caller: &Caller, table: &str, question: &str) -> i64 {
    let client = as_app(server, Some(caller)).await;
    client.batch_execute("BEGIN").await.expect("begun");
    let found = client.query(question, &[]).await.expect("asked").len();
    assert!(found > 0, "{question}");
    let read = "SELECT pg_stat_get_xact_tuples_fetched(reltoastrelid) FROM pg_class \
                WHERE oid = $1::text::regclass";
    client.query_one(read, &[&table]).await.expect("told").get(0)
}

/// In how many such pieces the words of the longest row of `table` are kept.
async fn pieces_of_one(server: &Server, table: &str) -> i64 {
    // what a piece holds at most, a little less than a quarter of a page
    let sql = format!("SELECT max(pg_column_size(tsv)) / 1996 + 1 FROM {table}");
    i64::from(server.sql().await.query_one(&sql, &[]).await.expect("told").get::<_, i32>(0))
}

/// Makes of a content, as [`fill`] takes it, a long one: with words of its own.
fn long(content: &str) -> String {
    // the quotes end the text that the content becomes, and begin it again
    let more = "(SELECT string_agg(md5(w::text), ' ') FROM generate_series(1, 200) w)";
    format!("{content} ' || {more} || ' {{n}}")
}

#[tokio::test]
async fn many_small_spaces_cost_a_search_no_more_than_one() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    // fewer in each than are ever measured
    let (spaces, each) = (20, MEASURED_FROM - 1);
    for n in 0..spaces {
        let space = eve.space(&format!("Space {n}")).await;
        let space = space["id"].as_str();
        fill(&server, &eve, "SPACE", space, each, &long(&words())).await;
    }
    refresh_statistics(&server.store).await.expect("counted");
    let question = format!(
        "SELECT memory_id FROM lexical_candidates('{}', 100, {WORDS}, {LEXICAL_BUDGET}, NULL, NULL, \
         NULL, NULL, NULL, NULL)",
        words()
    );
    let read = pieces_read(&server, &eve, "memories", &question).await;
    let unpacked = read / pieces_of_one(&server, "memories").await;
    // those of rare words, and of two common ones; each once, not once for every word
    let most = LEXICAL_BUDGET * 80 / 64 + 3 * LEXICAL_BUDGET;
    assert!(most < spaces * each);
    assert!(unpacked <= most, "{unpacked} of {}", spaces * each);
    // and what is asked for is found
    eve.note(json!({ "content": format!("{} needle", words()), "visibility": "ORG" })).await;
    let found = scores(&eve, &format!("needle {}", words())).await;
    assert!(found[0].0.ends_with(" needle"), "{}", found[0].0);
    assert_eq!(found.len(), 100);
}

#[tokio::test]
async fn a_question_to_one_long_session_does_not_score_all_of_it() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let space = eve.space("Team").await;
    let space = space["id"].as_str().expect("an id");
    let made = eve.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session = made["session"]["id"].as_str().expect("an id");
    let many: i64 = 2_000;
    let insert = format!(
        "INSERT INTO messages (id, org_id, session_id, seq, author_type, author_user_id, body)
         SELECT 'c' || lpad(n::text, 24, '0'), $1, $2, n, 'USER', $3,
             '{} ' || (SELECT string_agg(md5(w::text), ' ') FROM generate_series(1, 200) w)
         FROM generate_series(1, $4::bigint) n",
        words()
    );
    let sql = server.sql().await;
    let (org_id, user) = (eve.org_id.as_str(), eve.user_id.as_str());
    sql.execute(&insert, &[&org_id, &session, &user, &many]).await.expect("written");
    let count = "UPDATE sessions SET last_message_seq = $2 WHERE id = $1";
    sql.execute(count, &[&session, &many]).await.expect("counted");
    let question = format!(
        "SELECT message_id FROM lexical_messages('{}', 300, {WORDS}, 500, '{space}', '{session}', \
         NULL, NULL, NULL, NULL)",
        words()
    );
    let read = pieces_read(&server, &eve, "message_index", &question).await;
    let unpacked = read / pieces_of_one(&server, "message_index").await;
    assert!(unpacked < many, "{unpacked} of {many}");
    // the newest are found
    let path = "/spaces/team/messages/search";
    let body = json!({ "query": words(), "sessionId": session });
    let data = eve.post(path, body).await.data(200);
    assert!(!data["results"].as_array().expect("results").is_empty(), "{data}");
}

#[tokio::test]
async fn what_is_looked_for_literally_is_the_newest_text_alone() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    // five million bytes of newer text, of which two are read
    fill(&server, &org.owner, "ORG", None, 1, "🦀 of old").await;
    let long = "words and more words ".repeat(470);
    fill(&server, &org.owner, "ORG", None, 510, &long).await;
    fill(&server, &org.owner, "ORG", None, 3, "🦀 of new {n}").await;
    let found = scores(&org.owner, "🦀").await;
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|(content, _)| content.contains("new")), "{found:?}");
}

#[tokio::test]
async fn notes_of_others_push_no_note_with_a_common_word_out() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    // every note that the OWNER sees has the word, and so has more than every fifth of all
    fill(&server, &org.owner, "ORG", None, LEXICAL_BUDGET * 3, "apple of old {n}").await;
    fill(&server, &org.owner, "ORG", None, 5, "apple apple apple of new {n}").await;
    refresh_statistics(&server.store).await.expect("counted");
    let before = scores(&org.owner, "apple").await;
    assert!(before[..5].iter().all(|(content, _)| content.contains("new")), "{before:?}");
    // newer ones, more than are looked through
    fill(&server, &eve, "PRIVATE", None, LEXICAL_BUDGET * 11, "pear of my own {n}").await;
    refresh_statistics(&server.store).await.expect("counted");
    assert_eq!(scores(&org.owner, "apple").await, before);
}

/// Counts the questions that it embeds.
#[derive(Default)]
struct Counting {
    obedient: Obedient,
    questions: AtomicUsize,
}

#[async_trait]
impl Embedder for Counting {
    fn model_id(&self) -> &str {
        self.obedient.model_id()
    }
    fn sparse_model_id(&self) -> Option<&str> {
        self.obedient.sparse_model_id()
    }
    async fn embed_query(&self, text: &str) -> Result<QueryEmbedding, EmbedError> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        self.obedient.embed_query(text).await
    }
    async fn embed_note(&self, text: &str, owner: &Owner) -> Result<NoteEmbedding, EmbedError> {
        self.obedient.embed_note(text, owner).await
    }
}

#[tokio::test]
async fn time_tells_nobody_what_another_organization_has_asked() {
    let counting = Arc::new(Counting::default());
    let embedder: Arc<dyn Embedder> = counting.clone();
    let server = Server::with(Options { embedder, ..Options::default() }).await;
    let (here, there) = (server.org("here").await, server.org("there").await);
    let colleague = server.member(&here, "eve", OrgRole::Member).await;
    let asked = async |caller: &Caller| {
        caller.search("do we sell the company?").await;
        counting.questions.load(Ordering::SeqCst)
    };
    assert_eq!(asked(&here.owner).await, 1);
    assert_eq!(asked(&here.owner).await, 1, "what one has asked is remembered");
    assert_eq!(asked(&colleague).await, 1);
    assert_eq!(asked(&there.owner).await, 2, "for others it takes as long as any other question");
    assert_eq!(asked(&there.owner).await, 2);
}

#[tokio::test]
async fn searches_lists_and_facets_end_and_say_what_to_do() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    org.owner.space("Team").await;
    let ada = &org.owner;
    let sql = server.sql().await;
    sql.batch_execute("BEGIN; LOCK TABLE memories, sessions IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("locked");
    let saved = "/v1/org/acme/ws/team/sessions";
    let facets = format!("{saved}/facets");
    let query = json!({ "query": "deploys" });
    let answers = tokio::join!(
        ada.post("/memory/search", query.clone()),
        ada.post("/spaces/team/messages/search", query),
        ada.get("/memory"),
        ada.get("/spaces/team/sessions"),
        ada.get(saved),
        ada.get(&facets),
    );
    sql.batch_execute("ROLLBACK").await.expect("unlocked");
    let (search, messages, notes, sessions, saved, facets) = answers;
    for answer in [search, messages, notes, sessions, saved, facets] {
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(answer.headers.contains_key("retry-after"));
        assert!(answer.text.contains("ask for less"), "{}", answer.text);
    }
    ada.get("/memory").await.data(200);
}

/// Waits until so many notes that are to be written wait for a lock that the test holds.
async fn until_waiting(sql: &tokio_postgres::Client, requests: i64) {
    until_somebody_waits(sql).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock' \
                     AND query ILIKE '%insert into%memories%'";
    while sql.query_one(waiting, &[]).await.expect("counted").get::<_, i64>(0) < requests {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn crowd(concurrency: Concurrency) -> (Server, Org) {
    let server = Server::with(Options { concurrency, ..words_alone() }).await;
    let org = server.org("acme").await;
    (server, org)
}

fn refused(answer: &Answer, whose: &str) {
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(answer.text.contains(&format!("requests of this {whose} are running")), "{answer:?}");
}

#[tokio::test]
async fn one_key_and_one_organization_have_their_share_at_once() {
    let (server, org) = crowd(Concurrency { key: 2, org: 3 }).await;
    let (ada, stranger) = (&org.owner, server.org("other").await.owner);
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let mallory = server.member(&org, "mallory", OrgRole::Member).await;
    let mcp = Mcp::all(&server, &mallory).await;
    // so that it is known whose the keys are, and lists can be read at once
    for caller in [ada, &mallory, &stranger] {
        caller.get("/projects").await.data(200);
    }
    let sql = server.sql().await;
    sql.batch_execute("BEGIN; LOCK TABLE memories IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let write = async |caller: &Caller| {
        let note = json!({ "content": "Deploys.", "visibility": "PRIVATE" });
        caller.post("/memory", note).await.data(201);
    };
    let look = server.sql().await;
    let meanwhile = async {
        until_waiting(&look, 2).await;
        let (first, second, other) =
            tokio::join!(ada.get("/me"), ada.get("/projects"), stranger.get("/projects"));
        refused(&first, "key");
        refused(&second, "key");
        other.data(200);
        let third = write(&eve);
        let last = async {
            until_waiting(&look, 3).await;
            let (first, second, third) = tokio::join!(
                mallory.get("/me"),
                mallory.get("/projects"),
                mcp.rpc("tools/list", json!({}))
            );
            refused(&first, "organization");
            refused(&second, "organization");
            refused(&third, "organization");
            stranger.get("/me").await.data(200);
            sql.batch_execute("ROLLBACK").await.expect("unlocked");
        };
        tokio::join!(third, last);
    };
    tokio::join!(write(ada), write(ada), meanwhile);
    for caller in [ada, &eve, &mallory] {
        caller.get("/me").await.data(200);
    }
}

#[tokio::test]
async fn requests_beyond_a_keys_share_wait_their_turn() {
    let (_server, org) = crowd(Concurrency { key: 1, org: 1 }).await;
    let reads = (0..20).map(|n| {
        let path = if n % 2 == 0 { "/me" } else { "/projects" };
        org.owner.get(path)
    });
    for answer in futures::future::join_all(reads).await {
        answer.data(200);
    }
}

#[tokio::test]
async fn an_open_stream_takes_nobodys_turn() {
    let (_server, org) = crowd(Concurrency { key: 1, org: 1 }).await;
    org.owner.space("Team").await;
    let made = org.owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session = made["session"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/spaces/team/sessions/{session}/events");
    let _streams =
        [Stream::open(&org.owner, &path, None).await, Stream::open(&org.owner, &path, None).await];
    org.owner.get("/me").await.data(200);
}
