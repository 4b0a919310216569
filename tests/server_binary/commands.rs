//! `migrate`, `doctor`, `openapi`.

use super::stop;
use crate::fixture::binary::{Ended, Home, Serving};
use crate::fixture::cluster::{cluster, connect_to};
use crate::fixture::cross_encoders::{Output, counting_folder};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::path::Path;

/// The findings of `doctor --output json`: part and whether it is well.
fn findings(report: &Value) -> Vec<(&str, bool)> {
    let findings = report["findings"].as_array().expect("findings").iter();
    findings
        .map(|f| {
            assert!(f["says"].is_string(), "{f}");
            (f["part"].as_str().expect("a part"), f["ok"].as_bool().expect("whether"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_runs_what_is_missing_and_then_nothing() {
    let home = Home::new();
    let database = cluster().empty_database().await;
    let url = database.expose_secret();
    let migrate = || Ended::of(home.server(["migrate"]).env("DATABASE_URL", url)).ok();
    let first = migrate();
    assert!(first.starts_with("Ran 2"), "{first}");
    assert_eq!(migrate(), "The schema is up to date.\n");
    assert!(!home.data_dir().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_build_migrated_is_refused() {
    let home = Home::new();
    let database = cluster().database().await;
    connect_to(&database)
        .await
        .execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')", &[])
        .await
        .expect("a migration of another build");
    let url = database.expose_secret();
    for command in ["migrate", "serve"] {
        let ended = Ended::of(home.server([command]).env("DATABASE_URL", url));
        let sentence = ended.sentence();
        assert!(sentence.contains("another build of Switchy"), "{sentence}");
        assert!(sentence.contains("20991231000001"), "{sentence}");
    }
    let mut doctor = home.server(["doctor", "--output=json", "--lexical-only"]);
    let doctor = Ended::of(doctor.env("DATABASE_URL", url));
    assert_eq!(doctor.sentence(), "1 part is not well");
    let report = serde_json::from_str(&doctor.stdout).expect("JSON");
    assert!(findings(&report).contains(&("schema", false)), "{report}");
    assert!(doctor.stdout.contains("another build of Switchy"), "{}", doctor.stdout);
}

#[test]
fn doctor_finds_a_schema_that_is_missing_and_then_everything_well() {
    let home = Home::new();
    let doctor =
        |arguments: &[&str]| Ended::of(&mut home.server(["doctor"].iter().chain(arguments)));
    let before = doctor(&["--output=json", "--lexical-only"]);
    assert_eq!(before.sentence(), "1 part is not well");
    let report = serde_json::from_str(&before.stdout).expect("JSON");
    assert!(findings(&report).contains(&("schema", false)), "{report}");
    assert!(before.stdout.contains("switchy-server migrate"), "{}", before.stdout);

    Ended::of(&mut home.server(["migrate"])).ok();
    let report = doctor(&["--output", "json"]).json();
    let parts =
        ["folders", "postgres", "versions", "schema", "backlog", "quotas", "model", "embedding"];
    assert_eq!(findings(&report), parts.map(|part| (part, true)), "{report}");
    let said = doctor(&[]).ok();
    for (line, part) in said.lines().zip(parts) {
        assert!(line.starts_with(&format!("ok    {part}")), "{said}");
    }
    assert!(said.contains("384 dimensions"), "{said}");

    let cross_encoder = counting_folder("lighthouse", Output::One, &["input_ids"]);
    let with = |folder: &Path| {
        let flag = format!("--cross-encoder-dir={}", folder.display());
        Ended::of(&mut home.server(["doctor", "--output=json", &flag]))
    };
    let report = with(cross_encoder.path()).json();
    assert_eq!(findings(&report).last(), Some(&("cross-encoder", true)), "{report}");
    let broken = with(Path::new("/nowhere"));
    assert_eq!(broken.sentence(), "1 part is not well");
    assert!(broken.stdout.contains("SWITCHY_CROSS_ENCODER_DIR"), "{}", broken.stdout);
    assert!(!home.data_dir().join("postgres/postmaster.pid").exists());

    // beside a server
    let serving = Serving::start(&mut home.serve());
    doctor(&["--lexical-only"]).ok();
    stop(serving, Signal::SIGTERM).ok();
}

#[test]
fn doctor_names_what_is_broken_without_secrets() {
    let home = Home::new();
    let broken = "postgres://ada:hunter2@127.0.0.1:1/switchy";
    let ended = Ended::of(
        home.server(["doctor", "--output=json", "--model-dir=nowhere"]).env("DATABASE_URL", broken),
    );
    assert!(ended.sentence().ends_with("parts are not well"), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let findings = findings(&report);
    for finding in [("folders", true), ("versions", false), ("schema", false), ("model", false)] {
        assert!(findings.contains(&finding), "{report}");
    }
    assert!(!ended.everything().contains("hunter2"), "{ended:?}");
}

#[test]
fn openapi_prints_the_documents_that_are_checked_in() {
    let home = Home::new();
    let openapi =
        |arguments: &[&str]| Ended::of(&mut home.server(["openapi"].iter().chain(arguments))).ok();
    assert!(openapi(&[]) == include_str!("../../spec/openapi.json"));
    assert!(openapi(&["--version", "3.1"]) == include_str!("../../spec/openapi.json"));
    assert!(openapi(&["--version", "3.0"]) == include_str!("../../spec/openapi-3.0.json"));
    assert!(!home.data_dir().exists());
    Ended::of(&mut home.server(["openapi", "--version", "2.0"])).usage();
}
