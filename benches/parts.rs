//! What the parts of a search and of a note cost: `cargo bench`.
//!
//! The absolute figures are this machine's; what counts are the ratios between lines of one run.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use divan::{Bencher, black_box};
use fixture::{Server, embedders};
use serde_json::json;
use slog::{Discard, Logger};
use std::sync::{Arc, LazyLock};
use switchy_server::auth::{Caller, OrgRole, PrivateNotes, Scopes};
use switchy_server::search::embedder::{Owner, QueryEmbedding};
use switchy_server::search::{Pipeline, Question, Search};
use switchy_server::store::ids::{KeyId, OrgId};
use switchy_server::store::memory::{self, NewMemory, Visibility};
use switchy_server::store::search::Filter;
use tokio::runtime::Runtime;

/// Notes of the organization that is searched.
const NOTES: u32 = 2_000;
const QUERY: &str = "when do we deploy to staging?";
const NOTE: &str = "Staging deploys happen on Tuesdays; the release captain holds the lock.";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

struct World {
    server: Server,
    caller: Caller,
    search: Search,
    embedding: Arc<QueryEmbedding>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| RUNTIME.block_on(world()));

fn engine() -> Search {
    Search::new(embedders::real(), Logger::root(Discard, slog::o!()))
}

async fn world() -> World {
    let server = Server::start().await;
    let owner = server.org("acme").await.owner;
    for i in 0..NOTES {
        let content = format!("{NOTE} Change {i} was number {} of that week.", i % 7);
        owner.note(json!({ "content": content, "visibility": "ORG" })).await;
    }
    server.sql().await.batch_execute("ANALYZE").await.expect("analysed");
    let caller = Caller {
        key_id: KeyId::generate(),
        user_id: owner.user_id.clone(),
        org_id: owner.org_id.clone(),
        role: OrgRole::Owner,
        scopes: Scopes::all_rest(),
        private_notes: PrivateNotes::Open,
        on_behalf: false,
    };
    let search = engine();
    let embedding =
        search.embed_query(&caller.org_id, QUERY).await.expect("embedded").expect("a model");
    World { server, caller, search, embedding }
}

fn main() {
    divan::main();
}

/// A question's way to its vectors.
#[divan::bench(args = [false, true])]
fn embed_query(bencher: Bencher, cached: bool) {
    let search = if cached { engine() } else { engine().without_query_cache() };
    let org = OrgId::generate();
    bencher
        .bench(|| RUNTIME.block_on(search.embed_query(&org, black_box(QUERY))).expect("embedded"));
}

/// A short note's way to its vectors.
#[divan::bench]
fn embed_note(bencher: Bencher) {
    let search = engine();
    bencher.bench(|| {
        RUNTIME
            .block_on(search.embed_note(black_box(NOTE), &Owner::background()))
            .expect("embedded")
    });
}

/// The search of an embedded question, from BEGIN to what is shown, as far as each way goes.
#[divan::bench(args = ["lexical", "vector", "fused", "reranked"])]
fn search(bencher: Bencher, way: &str) {
    let world = &*WORLD;
    let pipeline = Pipeline::ALL.into_iter().find(|p| p.as_str() == way).unwrap_or_default();
    let filter = Filter::default();
    let question = Question { text: QUERY, filter: &filter, limit: 20, min_score: 0.0, pipeline };
    bencher.bench(|| {
        RUNTIME.block_on(async {
            let mut tx = world.server.store.begin(&world.caller).await.expect("begun");
            let found = world.search.search(&mut tx, &question, Some(&world.embedding)).await;
            tx.commit().await.expect("done");
            world.search.finish(found.expect("found"), QUERY).await.hits.len()
        })
    });
}

/// The writing of an embedded note, from BEGIN to COMMIT.
#[divan::bench]
fn write(bencher: Bencher) {
    let world = &*WORLD;
    let vectors =
        RUNTIME.block_on(world.search.embed_note(NOTE, &Owner::background())).expect("embedded");
    let new = NewMemory {
        visibility: Visibility::Private,
        space_id: None,
        content: NOTE.to_owned(),
        tags: Vec::new(),
        source_url: None,
    };
    bencher.bench(|| {
        RUNTIME.block_on(async {
            let mut tx = world.server.store.begin(&world.caller).await.expect("begun");
            let embedded = vectors.as_ref().map(|v| v.embedded());
            memory::create(&mut tx, &new, embedded.as_ref()).await.expect("written");
            tx.commit().await.expect("done");
        });
    });
}
