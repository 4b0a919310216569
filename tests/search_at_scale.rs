//! Search among many notes: what is counted now and then, and what is left out for speed.

use crate::fixture::{Caller, Options, Server, embedders};
use serde_json::json;
use switchy_server::auth::OrgRole;
use switchy_server::store::search::{
    Filter, LEXICAL_BUDGET, LISTED_FROM, MEASURED_FROM, refresh_statistics,
};

fn words_alone() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

/// Writes `count` notes behind the server's back; `{n}` in the content is the note's number.
async fn fill(
    server: &Server,
    author: &Caller,
    visibility: &str,
    space: Option<&str>,
    count: i64,
    content: &str,
) {
    let sql = format!(
        "INSERT INTO memories (id, org_id, author_user_id, visibility, space_id, content)
         SELECT 'c' || substr(md5(random()::text), 1, 24), $1, $2, $3, $4,
             replace('{content}', '{{n}}', n::text) FROM generate_series(1, $5::bigint) n"
    );
    let (org, user) = (author.org_id.as_str(), author.user_id.as_str());
    let client = server.sql().await;
    client.execute(&sql, &[&org, &user, &visibility, &space, &count]).await.expect("written");
}

async fn scores(caller: &Caller, query: &str) -> Vec<(String, f64)> {
    let body = json!({ "query": query, "limit": 100 });
    let data = caller.post("/memory/search", body).await.data(200);
    let results = data["results"].as_array().expect("results").iter();
    results
        .map(|r| {
            (
                r["memory"]["content"].as_str().expect("content").to_owned(),
                r["score"].as_f64().expect("a score"),
            )
        })
        .collect()
}

#[tokio::test]
async fn counting_beforehand_changes_no_score() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    let space = space["id"].as_str();
    fill(&server, &org.owner, "ORG", None, MEASURED_FROM + 50, "apple pear {n}").await;
    fill(&server, &org.owner, "ORG", None, LISTED_FROM - 5, "pear plum plum").await;
    fill(&server, &org.owner, "SPACE", space, MEASURED_FROM, "apple cherry fig {n} and more of it")
        .await;
    fill(&server, &org.owner, "PRIVATE", None, 30, "cherry plum {n}").await;
    let queries = ["apple", "pear plum", "cherry fig 17", "plum apple cherry", "23"];
    let mut before = Vec::new();
    for query in queries {
        before.push(scores(&org.owner, query).await);
    }
    refresh_statistics(&server.store).await.expect("counted");
    let sql = server.sql().await;
    let counted = "SELECT count(*) FROM memory_statistics WHERE notes_at_count = notes";
    assert_eq!(sql.query_one(counted, &[]).await.expect("read").get::<_, i64>(0), 2);
    for (query, before) in queries.into_iter().zip(before) {
        let after = scores(&org.owner, query).await;
        assert_eq!(after.len(), before.len(), "{query}");
        for ((_, a), (_, b)) in after.iter().zip(&before) {
            assert!((a - b).abs() < 1e-9, "{query}: {a} instead of {b}");
        }
    }
}

#[tokio::test]
async fn among_many_common_words_the_rare_one_is_found() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let many = LEXICAL_BUDGET * 2;
    fill(&server, &org.owner, "ORG", None, many, "apple pear {n}").await;
    for content in ["apple pear needle", "quince apple", "apple apple apple pear pear"] {
        org.owner.note(json!({ "content": content, "visibility": "ORG" })).await;
    }
    refresh_statistics(&server.store).await.expect("counted");
    let first = async |query: &str| scores(&org.owner, query).await.swap_remove(0).0;
    assert_eq!(first("which apple or pear has the needle").await, "apple pear needle");
    assert_eq!(first("quince pear apple").await, "quince apple");
    assert_eq!(first("apple pear 1234").await, "apple pear 1234");
    // nothing but common words: something is found all the same
    assert_eq!(scores(&org.owner, "apple").await.len(), 100);
    assert_eq!(scores(&org.owner, "pear apple").await.len(), 100);
    // and with a filter, what passes it, however common the words
    let tagged = json!({ "content": "apple pie", "visibility": "ORG", "tags": ["dessert"] });
    org.owner.note(tagged).await;
    let body = json!({ "query": "apple", "tags": ["dessert"] });
    let data = org.owner.post("/memory/search", body).await.data(200);
    assert_eq!(data["results"].as_array().expect("results").len(), 1);
}

#[tokio::test]
async fn what_others_wrote_is_in_nobody_elses_counts() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let secret = eve.space("Secret").await;
    let other = server.org("other").await.owner;
    fill(&server, &org.owner, "ORG", None, MEASURED_FROM, "apple pear {n}").await;
    fill(&server, &org.owner, "ORG", None, 5, "plum").await;
    refresh_statistics(&server.store).await.expect("counted");
    let queries = ["apple plum", "pear 7", "plum pear apple"];
    let mut before = Vec::new();
    for query in queries {
        before.push(scores(&org.owner, query).await);
    }
    let hidden = MEASURED_FROM + 100;
    fill(&server, &eve, "SPACE", secret["id"].as_str(), hidden, "plum plum pear").await;
    fill(&server, &eve, "PRIVATE", None, hidden, "plum of my own {n}").await;
    fill(&server, &other, "ORG", None, hidden, "plum 7 elsewhere").await;
    refresh_statistics(&server.store).await.expect("counted");
    for (query, before) in queries.into_iter().zip(before) {
        let after = scores(&org.owner, query).await;
        let (a, b): (Vec<f64>, Vec<f64>) =
            after.iter().zip(&before).map(|((_, a), (_, b))| (*a, *b)).unzip();
        assert_eq!(a, b, "{query}");
    }
    // Space members count with it, those who leave it do not
    assert!(eve.search("plum").await.iter().any(|c| c == "plum plum pear"));
}

#[tokio::test]
async fn requests_cannot_read_the_counts() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    fill(&server, &org.owner, "ORG", None, MEASURED_FROM, "apple {n}").await;
    refresh_statistics(&server.store).await.expect("counted");
    let client = server.sql().await;
    client.batch_execute("SET ROLE switchy_app").await.expect("the role");
    let set =
        "SELECT set_config('switchy.org_id', $1, false), set_config('switchy.user_id', $2, false)";
    let (org_id, user) = (org.owner.org_id.as_str(), org.owner.user_id.as_str());
    client.execute(set, &[&org_id, &user]).await.expect("set");
    for sql in [
        "SELECT * FROM memory_statistics",
        "SELECT * FROM memory_common_words",
        "SELECT count_memories(1)",
        "SELECT count_common_words(1, 1)",
    ] {
        let error = client.query(sql, &[]).await.expect_err(sql);
        let error = error.as_db_error().expect("an answer").message().to_owned();
        assert!(error.contains("permission denied"), "{sql}: {error}");
    }
    // and the definer's functions see what the caller sees
    let stranger = server.org("other").await.owner;
    let (org_id, user) = (stranger.org_id.as_str(), stranger.user_id.as_str());
    client.execute(set, &[&org_id, &user]).await.expect("set");
    for sql in [
        "SELECT * FROM lexical_candidates('apple', 100, 64, 1000, NULL, NULL, NULL, NULL, NULL, NULL)",
        "SELECT * FROM filtered_memories(100, NULL, NULL, NULL, NULL, NULL, NULL)",
    ] {
        assert_eq!(client.query(sql, &[]).await.expect(sql).len(), 0, "{sql}");
    }
}

#[tokio::test]
async fn buckets_that_are_small_again_are_counted_no_more() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    fill(&server, &org.owner, "ORG", None, MEASURED_FROM, "apple {n}").await;
    refresh_statistics(&server.store).await.expect("counted");
    let sql = server.sql().await;
    let count = async |table: &str| {
        let sql_text = format!("SELECT count(*) FROM {table}");
        sql.query_one(&sql_text, &[]).await.expect("read").get::<_, i64>(0)
    };
    assert_eq!(count("memory_statistics").await, 1);
    assert_eq!(count("memory_common_words").await, 1);
    sql.execute("DELETE FROM memories WHERE content > 'apple 2'", &[]).await.expect("deleted");
    refresh_statistics(&server.store).await.expect("counted");
    assert_eq!(count("memory_statistics").await, 0);
    assert_eq!(count("memory_common_words").await, 0);
    assert!(!org.owner.search("apple 10").await.is_empty());
}
