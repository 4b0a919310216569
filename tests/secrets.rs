//! Looks for every key, token and secret of the test runs in everything that was logged meanwhile:
//! by servers in the tests' process, by the real programs, and by PostgreSQL.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

/// How the line begins that tells where PostgreSQL logs.
const POSTGRES_LOG: &str = "the log of PostgreSQL: ";

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Every line of the files whose names begin so.
fn lines(kind: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let files = std::fs::read_dir(folder).expect("the folder of the runs").flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with(kind));
    let text = files.map(|file| std::fs::read_to_string(file.path()).expect("UTF-8"));
    text.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
#[ignore = "reads what the end-to-end tests have left: run them first"]
fn no_secret_of_any_run_is_in_any_log() {
    let secrets: BTreeSet<String> = lines("secrets-").into_iter().collect();
    let mut logs = lines("logs-");
    let of_postgres: Vec<String> = logs
        .iter()
        .filter_map(|line| line.strip_prefix(POSTGRES_LOG))
        // those of earlier runs are removed by later ones
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    logs.extend(of_postgres);
    assert!(secrets.len() > 100 && logs.len() > 1_000, "run the end-to-end tests first");
    // nearly all of them are words: one look at each line is enough for these
    let (words, others): (HashSet<&str>, Vec<&str>) = {
        let (words, others): (Vec<&str>, Vec<&str>) =
            secrets.iter().map(String::as_str).partition(|secret| secret.chars().all(is_part));
        (words.into_iter().collect(), others)
    };
    let mut leaks = Vec::new();
    for line in &logs {
        let word = line.split(|c| !is_part(c)).find(|word| words.contains(word));
        let found = word.or_else(|| others.iter().copied().find(|secret| line.contains(secret)));
        if let Some(secret) = found {
            leaks.push(line.replace(secret, &format!("[{}…]", &secret[..4])));
        }
    }
    println!("{} secrets, {} lines", secrets.len(), logs.len());
    assert!(leaks.is_empty(), "{} lines: {leaks:#?}", leaks.len());
}
