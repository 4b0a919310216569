//! `reembed`: from one model to another while servers run.

use crate::fixture::binary::{Ended, Home};
use crate::fixture::cluster::{cluster, models};
use crate::fixture::logs::Logs;
use crate::fixture::{Caller, Options, Server, embedders};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use switchy_server::search::reembed::{self, Then, Watch};
use switchy_server::store::models::{self as store, Change, Models};

/// Question and the note that answers it, without a word in common.
const PAIRS: [(&str, &str); 4] = [
    (
        "what is our refund policy?",
        "Customers may return anything within thirty days and get their money back.",
    ),
    (
        "who tidies up where we make coffee?",
        "The office kitchen is cleaned every evening by the facilities crew.",
    ),
    ("a thief took a colleague's computer", "Ada's laptop was stolen at the airport."),
    (
        "how long do we retain copies of our Postgres data?",
        "Nightly database backups stay in Frankfurt for five weeks.",
    ),
];

struct Silent;

impl Watch for Silent {
    fn embedded(&self, _: u64, _: u64) {}
}

fn options(then: Then) -> reembed::Options {
    reembed::Options { workers: 2, rate: None, then, grace: Duration::from_secs(1) }
}

fn other() -> Options {
    Options { embedder: embedders::other(), ..Options::default() }
}

/// A server with the real model, which the database is searched with, and notes.
async fn before() -> (Server, Caller) {
    let server = Server::start().await;
    let owner = server.org("acme").await.owner;
    until("the model is claimed", async || {
        store::active(&server.store).await.expect("read").is_some()
    })
    .await;
    for (_, note) in PAIRS {
        owner.note(json!({ "content": note, "visibility": "ORG" })).await;
    }
    (server, owner)
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks one of the questions; whether it was answered by meaning. If it was, the answer is right.
async fn ask(caller: &Caller, i: usize) -> bool {
    let (query, note) = PAIRS[i % PAIRS.len()];
    let data = caller.post("/memory/search", json!({ "query": query })).await.data(200);
    if data["degraded"] == true {
        return false;
    }
    assert_eq!(data["results"][0]["memory"]["content"], note, "{query}: {data:#}");
    true
}

async fn semantic(caller: &Caller) -> Value {
    caller.get("/ready").await.data(200)["semanticSearch"].take()
}

async fn count(server: &Server, sql: &str) -> i64 {
    server.sql().await.query_one(sql, &[]).await.expect(sql).get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_go_on_and_never_mix_models() {
    let (old, ada) = before().await;
    let new = old.beside(other()).await;
    let (at_old, at_new) = (ada.clone(), ada.at(&new.url));
    assert!(ask(&at_old, 0).await);
    assert!(!ask(&at_new, 0).await, "the database is searched with the old model");
    assert_eq!(semantic(&at_old).await, true);
    assert_eq!(semantic(&at_new).await, false);

    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let searching = async |caller: &Caller| {
        while !done.load(Ordering::SeqCst) {
            ask(caller, usize::try_from(asked.fetch_add(1, Ordering::SeqCst)).unwrap_or(0)).await;
        }
    };
    let writing = async {
        // not endlessly: on a fast machine more would be written than is embedded meanwhile
        for i in 0..60 {
            if done.load(Ordering::SeqCst) {
                break;
            }
            let at = if i % 2 == 0 { &at_old } else { &at_new };
            let content = format!("Meeting number {i} was about nothing in particular.");
            at.note(json!({ "content": content, "visibility": "ORG" })).await;
        }
    };
    let changing = async {
        let rate = NonZeroU32::new(20);
        let slowly = reembed::Options { rate, ..options(Then::Switch) };
        let embedder = embedders::other();
        let outcome = reembed::run(&old.store, &*embedder, slowly, &Silent).await;
        // some more searches of what is there now
        tokio::time::sleep(Duration::from_millis(500)).await;
        done.store(true, Ordering::SeqCst);
        outcome.expect("changed")
    };
    let (changed, (), (), ()) =
        tokio::join!(changing, searching(&at_old), searching(&at_new), writing);
    assert!(changed.embedded >= 4 && !changed.was_active && changed.hopeless == 0, "{changed:?}");
    assert!(asked.load(Ordering::SeqCst) > 10);

    for i in 0..PAIRS.len() {
        assert!(ask(&at_new, i).await, "the new model answers");
        assert!(!ask(&at_old, i).await, "the old model is asked no more");
    }
    assert_eq!(semantic(&at_old).await, false);
    assert_eq!(semantic(&at_new).await, true);
    // what was written in between is caught up with
    let again =
        reembed::run(&old.store, &*embedders::other(), options(Then::Switch), &Silent).await;
    assert!(again.expect("run").was_active);
    let lacking = "SELECT count(*) FROM memories m WHERE NOT EXISTS (SELECT FROM memory_embeddings e \
                   WHERE e.memory_id = m.id AND e.model_id = 'another-model/int8/00000000')";
    assert_eq!(count(&old, lacking).await, 0);
    let strays = "SELECT count(*) FROM memory_embeddings WHERE model_id NOT LIKE 'another%'";
    assert_eq!(count(&old, strays).await, 0);
}

#[tokio::test]
async fn a_server_with_the_old_model_neither_writes_nor_compares_its_vectors() {
    let (old, ada) = before().await;
    reembed::run(&old.store, &*embedders::other(), options(Then::Switch), &Silent)
        .await
        .expect("changed");
    let late = old.beside(Options::default()).await;
    let ada = ada.at(&late.url);
    assert_eq!(semantic(&ada).await, false);
    ada.note(json!({ "content": "Written late.", "visibility": "ORG" })).await;
    for sql in [
        "SELECT count(*) FROM memory_embeddings WHERE model_id <> 'another-model/int8/00000000'",
        "SELECT count(*) FROM memory_expansions WHERE model_id <> 'another-reranker/int8/00000000'",
    ] {
        assert_eq!(count(&old, sql).await, 0, "{sql}");
    }
    for body in [
        json!({ "query": "written" }),
        json!({ "query": "written", "createdAfter": "2000-01-01T00:00:00Z" }),
    ] {
        let data = ada.post("/memory/search", body).await.data(200);
        assert_eq!(data["degraded"], true);
        assert_eq!(data["results"].as_array().expect("results").len(), 1);
    }
    // a server of the new model embeds it
    let new = old.beside(other()).await;
    let lacking = "SELECT count(*) FROM memories m WHERE NOT EXISTS \
                   (SELECT FROM memory_embeddings e WHERE e.memory_id = m.id)";
    until("it is embedded", async || count(&old, lacking).await == 0).await;
    assert!(ask(&ada.at(&new.url), 2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_the_notes_are_expanded_by_another_model_is_logged_once() {
    let (log, logs) = Logs::new();
    let server = Server::with(Options { log, ..Options::default() }).await;
    let warnings = || {
        let lines = logs.lines();
        lines.into_iter().filter(|l| l.contains("expanded by another model")).collect::<Vec<_>>()
    };
    until("the model is claimed", async || {
        store::active(&server.store).await.expect("read").is_some()
    })
    .await;
    let nobody = server.nobody();
    assert_eq!(semantic(&nobody).await, true);
    assert!(warnings().is_empty(), "{:?}", warnings());
    let own = store::active(&server.store).await.expect("read").expect("claimed");
    let another = Models { sparse_model_id: Some("another-reranker/int8/00".into()), ..own };
    store::activate(&server.store, &another).await.expect("changed");
    for _ in 0..3 {
        assert_eq!(semantic(&nobody).await, true, "sentences are compared as before");
    }
    let found = warnings();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("WARN ") && found[0].contains("another-reranker"), "{found:?}");
    assert!(found[0].contains("switchy-server reembed"), "it says what to do: {found:?}");
}

#[tokio::test]
async fn what_was_interrupted_goes_on() {
    let (old, ada) = before().await;
    for i in 0..30 {
        ada.note(json!({ "content": format!("note {i}"), "visibility": "ORG" })).await;
    }
    let embedder = embedders::other();
    let slowly = reembed::Options { workers: 1, rate: NonZeroU32::new(5), ..options(Then::Switch) };
    let have = "SELECT count(*) FROM memory_embeddings WHERE model_id LIKE 'another%'";
    tokio::select! {
        outcome = reembed::run(&old.store, &*embedder, slowly, &Silent) => {
            panic!("34 notes in no time: {outcome:?}")
        }
        () = until("some are embedded", async || count(&old, have).await >= 3) => {}
    }
    assert!(ask(&ada, 1).await, "nothing was switched");
    let left = 34 - count(&old, have).await;
    assert!(left > 0);
    let done = reembed::run(&old.store, &*embedder, options(Then::Switch), &Silent).await;
    let embedded = i64::try_from(done.expect("done").embedded).expect("a number");
    assert!((left - 1..=left).contains(&embedded), "{embedded} of {left}");
}

#[tokio::test]
async fn preparing_switches_nothing_and_old_vectors_can_be_kept() {
    let (old, ada) = before().await;
    let (real, new) = (embedders::real(), embedders::other());
    let run = async |embedder: &dyn switchy_server::search::embedder::Embedder, then| {
        reembed::run(&old.store, embedder, options(then), &Silent).await.expect("done").embedded
    };
    assert_eq!(run(&*new, Then::Wait).await, 4);
    assert!(ask(&ada, 1).await, "the old model answers");
    assert_eq!(run(&*new, Then::SwitchAndKeep).await, 0);
    assert!(!ask(&ada, 1).await);
    assert_eq!(run(&*real, Then::Switch).await, 0, "the way back is short");
    assert!(ask(&ada, 1).await);
    assert_eq!(count(&old, "SELECT count(*) FROM memory_embeddings").await, 4);
    assert_eq!(count(&old, "SELECT count(*) FROM memory_expansions").await, 4);
}

/// A folder with the bundled models, whose sentence model differs in its description alone.
fn copied_model(folder: &std::path::Path) {
    let (bundled, _) = models(&cluster().installed);
    for model in ["minilm", "splade"] {
        std::fs::create_dir_all(folder.join(model)).expect("a folder");
        for file in std::fs::read_dir(bundled.join(model)).expect("the model").flatten() {
            if file.path().is_file() {
                std::fs::copy(file.path(), folder.join(model).join(file.file_name()))
                    .expect("copied");
            }
        }
    }
    let file = folder.join("minilm/model.onnx");
    let mut model = std::fs::read(&file).expect("the model");
    // ONNX: field 6 of ModelProto is `doc_string`
    model.extend_from_slice(&[0x32, 1, b'x']);
    std::fs::write(file, model).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_changes_the_model_of_a_running_server() {
    let (old, ada) = before().await;
    let home = Home::new();
    let folder = home.folder().join("model");
    copied_model(&folder);
    let reembed = |more: &[&str]| {
        let mut command = home.server(["reembed"]);
        command.args(more).env("DATABASE_URL", old.database.expose_secret());
        Ended::of(&mut command)
    };
    let model = folder.to_str().expect("UTF-8");
    assert!(reembed(&["--lexical-only"]).sentence().contains("--lexical-only"));
    assert!(reembed(&["--model", "/no/such/folder"]).sentence().contains("/no/such/folder"));
    {
        let _change = Change::begin(&old.database).await.expect("asked").expect("nobody else");
        let ended = reembed(&["--model", model]);
        assert!(ended.sentence().contains("another `reembed`"), "{}", ended.sentence());
    }
    let said = reembed(&["--model", model, "--prepare"]).ok();
    assert!(said.contains("4 notes were embedded") && said.contains("without --prepare"), "{said}");
    assert!(ask(&ada, 0).await);
    let said = reembed(&["--model", model, "--rate", "50"]).ok();
    assert!(said.contains("0 notes were embedded") && said.contains("SWITCHY_MODEL_DIR"), "{said}");
    assert!(!ask(&ada, 0).await);
    let said = reembed(&[]).ok();
    assert!(said.contains("4 notes were embedded"), "back to the bundled model: {said}");
    assert!(ask(&ada, 0).await);
}
