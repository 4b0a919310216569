//! Search among many notes: what is counted now and then, and what is left out for speed.

use crate::fixture::{Caller, Options, Server, embedders};
use serde_json::json;
use std::time::Instant;
use switchy_server::auth::{OrgRole, PrivateNotes, Scopes};
use switchy_server::search::embedder::Dense;
use switchy_server::store::ids::KeyId;
use switchy_server::store::memory::Visibility;
use switchy_server::store::search::{
    BREAK_EVEN, EXACT_BELOW, Filter, LEXICAL_BUDGET, LISTED_FROM, MEASURED_FROM, Scan, WALKED_FROM,
    exact_below, nearest, refresh_statistics,
};

fn words_alone() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

/// Writes `count` notes behind the server's back; `{n}` in the content is the note's number.
pub(crate) async fn fill(
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

pub(crate) async fn scores(caller: &Caller, query: &str) -> Vec<(String, f64)> {
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
    assert_eq!(first("apple pear 734").await, "apple pear 734");
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
async fn among_many_notes_the_limit_cuts_the_same_ranking() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    for content in ["apple {n}", "apple pear {n}", "a pear and an apple of the year {n}"] {
        fill(&server, &org.owner, "ORG", None, 60, content).await;
    }
    for query in ["apple", "pear of the year", "apple 17"] {
        let all = scores(&org.owner, query).await;
        assert_eq!(all.len(), 100, "{query}");
        for limit in [1, 20, 60, 61, 99] {
            let body = json!({ "query": query, "limit": limit });
            let data = org.owner.post("/memory/search", body).await.data(200);
            let some = data["results"].as_array().expect("results").iter();
            let some: Vec<_> = some.map(|r| r["memory"]["content"].as_str()).collect();
            let expected: Vec<_> = all[..limit].iter().map(|(c, _)| Some(c.as_str())).collect();
            assert_eq!(some, expected, "{query}, {limit}");
        }
    }
}

#[tokio::test]
async fn of_a_word_that_all_have_the_newest_notes_are_found_and_nobody_elses() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let space = org.owner.space("Team").await;
    fill(&server, &org.owner, "ORG", None, LEXICAL_BUDGET * 2, "apple of old {n}").await;
    refresh_statistics(&server.store).await.expect("counted");
    fill(&server, &org.owner, "ORG", None, 5, "apple apple apple of new {n}").await;
    fill(&server, &org.owner, "PRIVATE", None, 20, "apple apple apple of mine {n}").await;
    let space = space["id"].as_str();
    fill(&server, &org.owner, "SPACE", space, 20, "apple apple apple of ours {n}").await;

    let found = async |caller: &Caller| {
        let found = scores(caller, "apple").await;
        let of = |what: &str| found.iter().filter(|(content, _)| content.contains(what)).count();
        (found.len(), ["new", "mine", "ours"].map(of))
    };
    assert_eq!(found(&eve).await, (100, [5, 0, 0]));
    assert_eq!(found(&org.owner).await, (100, [5, 20, 20]));
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
    assert!(eve.search("plum pear").await.iter().any(|c| c == "plum plum pear"));
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

#[tokio::test]
async fn every_vacuum_takes_the_vectors_of_deleted_notes_out_of_the_index() {
    let server = Server::with(words_alone()).await;
    // whether it does is in its report alone, which is no answer to a client
    let told = "SELECT reloptions @> '{vacuum_index_cleanup=on}' FROM pg_class \
                WHERE oid = 'memory_embeddings'::regclass";
    let row = server.sql().await.query_one(told, &[]).await.expect("a table");
    assert!(row.get::<_, bool>(0));
}

/// Notes of 200 topics, with vectors of the real model's name: `count` in the organization of
/// `author`, the n-th with the tags `h{n % 100}` and `e{n % 9}`, half of them ORG, a tenth PRIVATE,
/// the rest in `space`. The vectors vary in 24 directions, as those of sentences do in few, and a
/// little in all others: vectors that vary in 384 are all as far from each other.
async fn scatter(server: &Server, author: &Caller, space: &str, count: i64) {
    let sql = server.sql().await;
    sql.batch_execute("DROP INDEX memory_embeddings_hnsw; SELECT setseed(0.25)")
        .await
        .expect("ready");
    let insert = "WITH direction AS MATERIALIZED (
             SELECT j, (SELECT array_agg(random() - 0.5)
                 FROM generate_series(1, 384) WHERE j = j)::real[]::vector AS v
             FROM generate_series(1, 24) j
         ), step AS MATERIALIZED (
             SELECT j, s, v * array_fill(s / 8.0::real, ARRAY[384])::vector AS v
             FROM direction, generate_series(-8, 8) s
         ), topic AS MATERIALIZED (
             SELECT c, (SELECT sum(v) FROM (
                     SELECT j, floor(random() * 17)::int - 8 AS s
                     FROM generate_series(1, 24) j WHERE c = c) r
                 JOIN step USING (j, s)) AS v
             FROM generate_series(0, 199) c
         ), around AS MATERIALIZED (
             SELECT n, sum(v * array_fill(0.7::real, ARRAY[384])::vector) AS v
             FROM (SELECT n, j, floor(random() * 17)::int - 8 AS s
                 FROM generate_series(1, $5::bigint) n, generate_series(1, 24) j) r
             JOIN step USING (j, s) GROUP BY n
         ), noise AS MATERIALIZED (
             SELECT r, (SELECT array_agg(0.3 * (random() - 0.5))
                 FROM generate_series(1, 384) WHERE r = r)::real[]::vector AS v
             FROM generate_series(0, 996) r
         ), note AS MATERIALIZED (
             SELECT n, 'c' || lpad(n::text, 24, '0') AS id, CASE WHEN n % 10 < 5 THEN 'ORG'
                 WHEN n % 10 < 6 THEN 'PRIVATE' ELSE 'SPACE' END AS visibility,
                 l2_normalize(topic.v + around.v + noise.v)::halfvec AS v
             FROM around JOIN topic ON c = (n * 7 + n / 100) % 200 JOIN noise ON r = n % 997
         ), written AS (
             INSERT INTO memories (id, org_id, author_user_id, visibility, space_id, content, tags)
             SELECT id, $1, $2, visibility, CASE visibility WHEN 'SPACE' THEN $4 END, 'filler ' || n,
                 ARRAY['h' || n % 100, 'e' || n % 9] FROM note RETURNING id
         )
         INSERT INTO memory_embeddings (memory_id, model_id, passage, org_id, author_user_id,
             visibility, space_id, starts_at, ends_at, embedding)
         SELECT id, $3, 0, $1, $2, visibility, CASE visibility WHEN 'SPACE' THEN $4 END, 0, 6, v
         FROM note";
    let (org, user) = (author.org_id.as_str(), author.user_id.as_str());
    let embedder = embedders::real();
    let model = embedder.model_id();
    sql.execute(insert, &[&org, &user, &model, &space, &count]).await.expect("written");
    sql.batch_execute(
        "SET maintenance_work_mem = '512MB'; CREATE INDEX memory_embeddings_hnsw ON \
         memory_embeddings USING hnsw (embedding halfvec_cosine_ops); \
         ANALYZE memories, memory_embeddings",
    )
    .await
    .expect("indexed");
}

/// What was looked for, which way it was found, how much of it, and how long it took in
/// milliseconds: as configured, and comparing everything.
struct Measured {
    scan: Scan,
    recall: f64,
    found_ms: f64,
    exact_ms: f64,
}

/// Who the store takes him for.
pub(crate) fn caller(author: &Caller) -> switchy_server::auth::Caller {
    switchy_server::auth::Caller {
        key_id: KeyId::generate(),
        user_id: author.user_id.clone(),
        org_id: author.org_id.clone(),
        role: OrgRole::Owner,
        scopes: Scopes::all_rest(),
        private_notes: PrivateNotes::Open,
        on_behalf: false,
    }
}

/// Recall at 10 of the nearest notes against comparing everything, over questions.
async fn recall(server: &Server, author: &Caller, filter: &Filter, exact_below: i64) -> Measured {
    let embedder = embedders::real();
    let sql = server.sql().await;
    // notes themselves ask, a little off
    let rows = sql
        .query("SELECT embedding::vector::real[] FROM memory_embeddings ORDER BY md5(memory_id) LIMIT 20", &[])
        .await
        .expect("read");
    let caller = caller(author);
    let mut measured = Measured { scan: Scan::Exact, recall: 0.0, found_ms: 0.0, exact_ms: 0.0 };
    let questions = rows.len() as f64;
    for row in rows {
        let mut components: Vec<f32> = row.get(0);
        components.iter_mut().enumerate().for_each(|(i, x)| *x += ((i % 7) as f32 - 3.0) * 0.002);
        let query = Dense::normalised(components).expect("a direction");
        let mut answers = Vec::new();
        for below in [exact_below, i64::MAX] {
            let begun = Instant::now();
            let mut tx = server.store.begin(&caller).await.expect("a transaction");
            let model = embedder.model_id();
            let found = nearest(&mut tx, &query, model, filter, 100, below).await.expect("found");
            let (mut notes, scan) = found.expect("the model is active");
            tx.commit().await.expect("done");
            notes.truncate(10);
            answers.push((notes, scan, begun.elapsed().as_secs_f64() * 1_000.0 / questions));
        }
        let (exact, _, exact_ms) = answers.pop().expect("two");
        let (found, scan, found_ms) = answers.pop().expect("one");
        let hits = exact.iter().filter(|id| found.contains(id)).count();
        measured.recall += hits as f64 / exact.len() as f64 / questions;
        measured.found_ms += found_ms;
        measured.exact_ms += exact_ms;
        measured.scan = scan;
    }
    measured
}

/// Filters by the share of the notes that pass them.
fn by_share(space: &str) -> Vec<(&'static str, Filter)> {
    let tags = |tags: &[&str]| Filter {
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        ..Filter::default()
    };
    vec![
        ("0.11 %", tags(&["h13", "e5"])),
        ("1 %", tags(&["h13"])),
        ("10 %", Filter { visibility: Some(Visibility::Private), ..Filter::default() }),
        ("11 %", tags(&["e5"])),
        ("40 %", Filter { space_id: Some(space.parse().expect("an id")), ..Filter::default() }),
        ("50 %", Filter { visibility: Some(Visibility::Org), ..Filter::default() }),
        ("100 %", Filter::default()),
    ]
}

#[tokio::test]
async fn whichever_way_is_taken_the_nearest_are_found() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    let space = space["id"].as_str().expect("an id");
    scatter(&server, &org.owner, space, 2_400).await;
    // where the index is walked from 200 notes on; whether they have been counted or not
    for counted in [false, true] {
        if counted {
            refresh_statistics(&server.store).await.expect("counted");
        }
        for (share, filter) in by_share(space) {
            let measured = recall(&server, &org.owner, &filter, 200).await;
            let few = matches!(share, "0.11 %" | "1 %");
            assert_eq!(measured.scan, if few { Scan::Exact } else { Scan::Index }, "{share}");
            assert!(measured.recall >= 0.98, "{share}: {}", measured.recall);
        }
    }
    // an author's own are fewer than the bucket that they are in
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let filter = Filter { author_user_id: Some(eve.user_id.clone()), ..Filter::default() };
    let caller = caller(&org.owner);
    let mut tx = server.store.begin(&caller).await.expect("a transaction");
    let mut east = vec![0.0; 384];
    east[0] = 1.0;
    let query = Dense::normalised(east).expect("a direction");
    let model = embedders::real();
    let found = nearest(&mut tx, &query, model.model_id(), &filter, 10, 200).await.expect("found");
    assert_eq!(found, Some((Vec::new(), Scan::Exact)));
}

#[tokio::test]
async fn the_more_passages_there_are_the_more_are_compared() {
    let server = Server::with(words_alone()).await;
    let below = async || exact_below(&server.store).await.expect("asked");
    assert_eq!(below().await, EXACT_BELOW);
    let sql = server.sql().await;
    // as if the database had found so many when it looked last
    for (passages, expected) in [
        (100_000.0_f32, EXACT_BELOW),
        (10_000_000.0, (10_000_000.0 * BREAK_EVEN).sqrt() as i64),
        // where whoever sees more than these sees every other one
        (2.0 * WALKED_FROM as f32 + 2_000.0, WALKED_FROM + 1_000),
        (500.0, WALKED_FROM),
        // not counted yet
        (-1.0, EXACT_BELOW),
    ] {
        let set = "UPDATE pg_class SET reltuples = $1 WHERE oid = 'memory_embeddings'::regclass";
        assert_eq!(sql.execute(set, &[&passages]).await.expect("set"), 1);
        assert_eq!(below().await, expected, "{passages}");
    }
}

#[tokio::test]
async fn of_what_is_measured_a_caller_knows_what_he_sees() {
    let server = Server::with(words_alone()).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let secret = eve.space("Secret").await;
    let secret = secret["id"].as_str().expect("an id");
    let other = server.org("other").await.owner;
    let many = MEASURED_FROM;
    fill(&server, &org.owner, "ORG", None, many, "apple {n}").await;
    fill(&server, &eve, "SPACE", Some(secret), many + 1, "pear {n}").await;
    fill(&server, &eve, "PRIVATE", None, many + 2, "plum {n}").await;
    fill(&server, &org.owner, "PRIVATE", None, many - 1, "too few {n}").await;
    refresh_statistics(&server.store).await.expect("counted");
    let known = async |of: &Caller, filter: &str| -> i64 {
        let client = crate::isolation::as_app(&server, Some(of)).await;
        let sql = format!("SELECT measured_notes({filter})");
        client.query_one(&sql, &[]).await.expect("asked").get(0)
    };
    let in_secret = format!("'{secret}', NULL");
    assert_eq!(known(&eve, "NULL, NULL").await, 3 * many + 3);
    assert_eq!(known(&eve, &in_secret).await, many + 1);
    assert_eq!(known(&eve, "NULL, 'PRIVATE'").await, many + 2);
    assert_eq!(known(&org.owner, "NULL, NULL").await, many);
    assert_eq!(known(&org.owner, "NULL, 'PRIVATE'").await, 0);
    assert_eq!(known(&org.owner, &in_secret).await, 0);
    assert_eq!(known(&other, "NULL, NULL").await, 0);
    assert_eq!(known(&other, &in_secret).await, 0);
}

/// Prints a table: which way is faster where, and what it finds.
#[tokio::test]
#[ignore = "takes minutes: 100,000 notes"]
async fn the_two_ways_compared_at_full_size() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    let space = space["id"].as_str().expect("an id");
    let count = std::env::var("NOTES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    scatter(&server, &org.owner, space, count).await;
    println!("{:<8} {:>6} {:>9} {:>9} {:>9}", "share", "way", "recall@10", "ms", "exact ms");
    for (share, filter) in by_share(space) {
        for below in [EXACT_BELOW, 0] {
            let m = recall(&server, &org.owner, &filter, below).await;
            let way = if m.scan == Scan::Exact { "exact" } else { "index" };
            println!(
                "{share:<8} {way:>6} {:>9.3} {:>9.1} {:>9.1}",
                m.recall, m.found_ms, m.exact_ms
            );
            assert!(below == 0 || m.recall >= 0.98, "{share}: {}", m.recall);
        }
    }
}
