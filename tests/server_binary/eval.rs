//! `eval`: what it measures, and what it leaves behind.

use crate::fixture::binary::{Ended, Home};
use crate::fixture::cluster::{cluster, connect_to};
use crate::fixture::cross_encoders::{Output, counting_folder};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A collection of a team's notes, in the layout of BEIR.
fn team() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/team")
}

/// The measures of a stage.
fn stage<'a>(report: &'a Value, name: &str) -> &'a Value {
    let stages = report["stages"].as_array().expect("stages");
    stages.iter().find(|stage| stage["stage"] == name).expect(name)
}

#[test]
fn every_stage_is_measured_on_a_database_that_is_gone_afterwards() {
    let home = Home::new();
    let scratch = home.folder().join("scratch");
    std::fs::create_dir(&scratch).expect("a folder");
    let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&scratch, open).expect("open");
    let mut command = home.server(["eval", "retrieval", "--output", "json", "--dataset"]);
    let ended = Ended::of(command.arg(team()).env("TMPDIR", &scratch));
    assert!(ended.stderr.contains("Writing notes: 20"), "{}", ended.stderr);
    let report = ended.json();
    assert_eq!(report["dataset"], "team");
    assert_eq!(report["documents"], 20);
    assert_eq!(report["leftOut"], 1);
    assert_eq!(report["questions"], 9);
    for name in ["lexical", "vector", "fused", "reranked"] {
        let stage = stage(&report, name);
        for measure in ["ndcg@10", "recall@5", "recall@10", "recall@50", "mrr@10"] {
            let value = stage[measure].as_f64().expect(measure);
            assert!((0.0..=1.0).contains(&value), "{name} {measure}: {value}");
        }
        let latency = &stage["latency"];
        assert!(latency["p50Ms"].as_f64().expect("a time") > 0.0, "{latency}");
        assert!(latency["p99Ms"].as_f64() >= latency["p50Ms"].as_f64(), "{latency}");
    }
    assert_eq!(report["stages"].as_array().map(Vec::len), Some(4), "{report:#}");
    assert_eq!(report["crossEncoder"], Value::Null);
    // questions without a common word need vectors; the whole needs both
    let ndcg = |name| stage(&report, name)["ndcg@10"].as_f64().expect("a number");
    assert!(ndcg("lexical") > 0.3, "{report:#}");
    assert!(ndcg("reranked") > ndcg("lexical"), "{report:#}");
    assert!(ndcg("reranked") > 0.8, "{report:#}");
    assert_eq!(stage(&report, "reranked")["recall@50"], 1.0, "{report:#}");
    let left = std::fs::read_dir(&scratch).expect("the folder");
    assert_eq!(left.count(), 0);
    assert!(!home.data_dir().exists());
}

#[test]
fn a_cross_encoder_is_a_stage_of_its_own() {
    let home = Home::new();
    let model = counting_folder("the", Output::One, &["input_ids"]);
    let mut command = home.server(["eval", "retrieval", "--output", "json", "--dataset"]);
    command.arg(team()).arg("--cross-encoder-dir").arg(model.path());
    let report = Ended::of(command.env("SWITCHY_CROSS_ENCODER_DEADLINE_MS", "5000")).json();
    assert_eq!(report["stages"].as_array().map(Vec::len), Some(5), "{report:#}");
    assert!(report["crossEncoder"].as_str().is_some_and(|id| id.contains("/float/")), "{report:#}");
    let (before, after) = (stage(&report, "reranked"), stage(&report, "cross-encoded"));
    assert_eq!(before["fellBack"], Value::Null);
    assert!(after["fellBack"].as_u64().is_some_and(|n| n <= 9), "{after:#}");
    // there are no more notes than it reads, so it finds the same ones: in a worse order, since
    // how often a note says `the` means nothing
    assert_eq!(after["recall@50"], before["recall@50"]);
    assert!(after["ndcg@10"].as_f64() < before["ndcg@10"].as_f64(), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_database_of_ones_own_nothing_is_left() {
    let database = cluster().database().await;
    let home = Home::new();
    let mut command = home.server(["eval", "retrieval", "--lexical-only", "--dataset"]);
    command.arg(team()).env("DATABASE_URL", database.expose_secret());
    let said = Ended::of(&mut command).ok();
    assert!(said.contains("team: 20 documents, 9 questions"), "{said}");
    assert!(said.contains("1 documents without text were left out"), "{said}");
    assert_eq!(said.lines().filter(|l| l.starts_with("lexical")).count(), 1, "{said}");
    let sql = connect_to(&database).await;
    for table in ["orgs", "users", "members", "memories", "memory_embeddings"] {
        let count = format!("SELECT count(*) FROM {table}");
        let left: i64 = sql.query_one(&count, &[]).await.expect("counted").get(0);
        assert_eq!(left, 0, "{table}");
    }
}

#[test]
fn a_collection_that_is_none_is_named() {
    let home = Home::new();
    for (folder, says) in
        [("no-such-folder", "corpus.jsonl"), (concat!(env!("CARGO_MANIFEST_DIR"), "/docs"), "docs")]
    {
        let ended = Ended::of(home.server(["eval", "retrieval", "--dataset"]).arg(folder));
        assert!(ended.sentence().contains(says), "{}", ended.sentence());
    }
    Ended::of(&mut home.server(["eval", "retrieval"])).usage();
}
