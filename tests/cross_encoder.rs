//! The cross-encoder that an operator brings along: it puts the best notes in order, in time or not
//! at all.

use crate::fixture::cross_encoders::{
    Fake, Output, PATIENT, counting_folder, folder, heavy_folder, load, local, minilm,
};
use crate::fixture::logs::Logs;
use crate::fixture::mcp::Mcp;
use crate::fixture::{Caller, Options, Org, Server, embedders};
use serde_json::{Value, json};
use std::time::Duration;
use switchy_server::search::cross_encoder::{CROSS_ENCODED, CrossEncoder, CrossEncoding};

/// What the counting model counts.
const WORD: &str = "lighthouse";
/// What most models take.
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// Without an embedding model: fused is the order of the words alone.
fn with(cross_encoding: Option<CrossEncoding>) -> Options {
    Options { embedder: embedders::none(), cross_encoding, ..Options::default() }
}

/// A server without a cross-encoder, and an organization with as many notes about deploys, each
/// fitting worse than the one before. `words` says how often each has [`WORD`].
async fn deploys(words: &[usize]) -> (Server, Org) {
    let server = Server::with(with(None)).await;
    let org = server.org("acme").await;
    for (place, words) in words.iter().enumerate() {
        let filler = "and nobody objected ".repeat(2 * place);
        let content = format!("Deploys {filler}{}.", format!("{WORD} ").repeat(*words));
        org.owner.note(json!({ "content": content, "visibility": "ORG" })).await;
    }
    (server, org)
}

/// Contents and scores, best first.
async fn found(caller: &Caller, body: Value) -> Vec<(String, f64)> {
    let data = caller.post("/memory/search", body).await.data(200);
    let hits = data["results"].as_array().expect("results").iter();
    hits.map(|hit| {
        let content = hit["memory"]["content"].as_str().expect("content").to_owned();
        (content, hit["score"].as_f64().expect("a score"))
    })
    .collect()
}

fn all() -> Value {
    json!({ "query": "deploys", "limit": 100 })
}

fn split(found: Vec<(String, f64)>) -> (Vec<String>, Vec<f64>) {
    found.into_iter().unzip()
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_get_the_order_of_the_cross_encoder_and_scores_stay_sorted() {
    let (server, org) = deploys(&[1, 0, 3, 2]).await;
    let model = counting_folder(WORD, Output::One, &INPUTS);
    let beside = server.beside(with(local(model.path(), PATIENT))).await;
    let ada = org.owner.at(&beside.url);
    let (fused, fused_scores) = split(found(&org.owner, all()).await);
    assert_eq!(fused.len(), 4);
    assert!(fused_scores.is_sorted_by(|a, b| a > b), "{fused_scores:?}");

    let (contents, scores) = split(found(&ada, all()).await);
    assert_eq!(contents, [2, 3, 0, 1].map(|place| fused[place].clone()));
    assert_eq!(scores, fused_scores);
    // who is brought forward need not have been within the limit
    let best = json!({ "query": "deploys", "limit": 1 });
    assert_eq!(found(&ada, best).await, [(fused[2].clone(), fused_scores[0])]);
    // what is left out is what fusion says
    let good = json!({ "query": "deploys", "minScore": fused_scores[1] });
    let (contents, scores) = split(found(&ada, good).await);
    assert_eq!(contents, fused[..2]);
    assert_eq!(scores, fused_scores[..2]);
    // one note, or none, has nothing to be compared with
    let one = json!({ "query": "deploys", "minScore": 1.0 });
    assert_eq!(found(&ada, one).await, [(fused[0].clone(), 1.0)]);
    assert_eq!(found(&ada, json!({ "query": "xylophone" })).await, []);
    // agents find what people find
    let mcp = Mcp::all(&beside, &ada).await;
    assert_eq!(mcp.search("deploys").await, ada.search("deploys").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_read_stays_behind_what_was() {
    let mut words = [0; CROSS_ENCODED + 5];
    words[CROSS_ENCODED - 1] = 1;
    words[CROSS_ENCODED] = 5;
    let (server, org) = deploys(&words).await;
    let model = counting_folder(WORD, Output::Flat, &INPUTS);
    let beside = server.beside(with(local(model.path(), PATIENT))).await;
    let (fused, scores) = split(found(&org.owner, all()).await);
    let (contents, given) = split(found(&org.owner.at(&beside.url), all()).await);
    assert_eq!(given, scores);
    assert_eq!(contents[0], fused[CROSS_ENCODED - 1]);
    assert_eq!(contents[1..CROSS_ENCODED], fused[..CROSS_ENCODED - 1]);
    assert_eq!(contents[CROSS_ENCODED..], fused[CROSS_ENCODED..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_long_note_the_nearest_passage_is_read() {
    let model = counting_folder(WORD, Output::One, &INPUTS);
    let options = Options { cross_encoding: local(model.path(), PATIENT), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let filler = "Attendance was taken, the agenda was read aloud and nobody objected to it. ";
    let long = format!(
        "The {WORD}, the {WORD} and the {WORD}. {}The burglar alarm is disarmed by typing 4711.",
        filler.repeat(60)
    );
    let short = format!("Nothing ever happens at the {WORD}.");
    for content in [&long, &short] {
        org.owner.note(json!({ "content": content, "visibility": "ORG" })).await;
    }
    assert_eq!(org.owner.search("the code of the burglar alarm").await, [short, long]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_too_slow_leaves_the_fused_order() {
    let (server, org) = deploys(&[0, 3, 1]).await;
    let fused = found(&org.owner, all()).await;
    let (log, logs) = Logs::new();
    let heavy = heavy_folder();
    let cross_encoding = local(heavy.path(), Duration::from_millis(1));
    let beside = server.beside(Options { log, ..with(cross_encoding) }).await;
    for _ in 0..5 {
        assert_eq!(found(&org.owner.at(&beside.url), all()).await, fused);
    }
    let lines = logs.lines();
    let why = |line: &&String| line.starts_with("DEBUG a search was answered in the fused order");
    assert_eq!(lines.iter().filter(why).count(), 5, "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("deadline passed")), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cross_encoder_that_misbehaves_leaves_the_fused_order() {
    let (server, org) = deploys(&[0, 3, 1]).await;
    let fused = found(&org.owner, all()).await;
    for (fake, deadline, says) in [
        (Fake::Stuck, Duration::from_millis(20), "DEBUG"),
        (Fake::Full, PATIENT, "DEBUG"),
        (Fake::Failing, PATIENT, "WARN"),
        (Fake::Nonsense, PATIENT, "WARN"),
    ] {
        let (log, logs) = Logs::new();
        let beside = server.beside(Options { log, ..with(fake.with(deadline)) }).await;
        assert_eq!(found(&org.owner.at(&beside.url), all()).await, fused, "{fake:?}");
        let says = format!("{says} a search was answered in the fused order");
        let lines = logs.lines();
        assert!(lines.iter().any(|line| line.starts_with(&says)), "{fake:?}: {lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_differ_in_what_they_take_and_give() {
    for (output, inputs) in [
        (Output::Flat, &INPUTS[..]),
        (Output::One, &INPUTS[..2]),
        (Output::One, &INPUTS[..1]),
        (Output::NoYes, &INPUTS[..]),
    ] {
        let folder = counting_folder(WORD, output, inputs);
        let model = load(folder.path()).expect("a model");
        let texts = ["none", "lighthouse lighthouse", "a lighthouse"].map(str::to_owned).to_vec();
        let scores = model.score("which lighthouse?", texts).await;
        assert_eq!(scores, Ok(vec![1.0, 3.0, 2.0]), "{output:?} {inputs:?}");
        // of what is too long, the question leaves room for the text
        let endless = "lighthouse ".repeat(5_000);
        let scores = model.score(&endless, vec![endless.clone(), "none".into()]).await;
        let scores = scores.expect("scores");
        assert!(scores[0] > 200.0 && scores[1] > 200.0, "{scores:?}");
        let scores = model.score("none", vec![endless, String::new()]).await.expect("scores");
        assert!(scores[0] > 200.0 && scores[1] == 0.0, "{scores:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_used_says_why() {
    let says = |folder: &std::path::Path, what: &str| {
        let error = load(folder).map(|_| ()).expect_err(what).to_string();
        assert!(error.contains(what), "{what}: {error}");
        assert!(error.contains(&folder.display().to_string()), "{error}");
    };
    let empty = tempfile::tempdir().expect("a temporary folder");
    says(empty.path(), "model.onnx");
    says(folder(b"no model at all").path(), "cannot be used");
    says(counting_folder(WORD, Output::Three, &INPUTS).path(), "[1, 3]");
    let foreign = ["input_ids", "pixel_values"];
    says(counting_folder(WORD, Output::One, &foreign).path(), "pixel_values");
    // an embedding model: a vector for every word piece
    says(&minilm(), "choose a cross-encoder");
    let broken = |name: &str, contents: &str| {
        let folder = counting_folder(WORD, Output::One, &INPUTS);
        std::fs::write(folder.path().join(name), contents).expect("written");
        folder
    };
    says(broken("tokenizer.json", "{}").path(), "cannot be used");
    says(broken("config.json", "{").path(), "config.json");
    let narrow = broken("config.json", r#"{"max_position_embeddings": 8}"#);
    says(narrow.path(), "only 8 word pieces");
    let without = counting_folder(WORD, Output::One, &INPUTS);
    std::fs::remove_file(without.path().join("tokenizer.json")).expect("removed");
    says(without.path(), "tokenizer.json");
}
