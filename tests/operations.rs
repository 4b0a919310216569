//! The table of all operations with the tests that cover each, made of the published document and
//! of what the end-to-end tests were answered. An operation that no test saw succeed, or without a
//! test for one of its documented failures, is an error.

#[path = "fixture/operations.rs"]
#[expect(dead_code, reason = "written for the end-to-end tests, which use all of it")]
mod operations;
#[path = "fixture/record.rs"]
#[expect(dead_code, reason = "this reads what the end-to-end tests wrote")]
mod record;

use operations::{Operation, operations};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use switchy_server::api::PREFIX;

/// Why no request can be answered so by this operation, although the contract lists the status for
/// all of them.
fn impossible(operation: &Operation, status: u16) -> Option<&'static str> {
    let takes_input = operation.body.is_some() || !operation.query.is_empty();
    match status {
        200..400 => None,
        _ if operation.public => Some("it takes no key and touches no tenant's data"),
        400 if !takes_input => Some("there is nothing to be wrong with"),
        403 if operation.id == "me" => Some("any key may ask"),
        422 if !takes_input => Some("there is nothing to be wrong with"),
        502 | 504 => Some("it asks no other server"),
        404 if !operation.has_variables() => Some("nothing is named in its path"),
        409 if operation.id == "mcp_server_test" => Some(
            "its key is held no longer than the result takes to be stored: no test can meet it",
        ),
        409 if !operation.idempotent => Some("nothing can collide"),
        _ => None,
    }
}

/// Test names by operation and status.
type Covered = BTreeMap<(String, u16), Vec<String>>;

fn covered(operations: &[Operation]) -> Covered {
    let path = record::path();
    let record = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; run the end-to-end tests first", path.display())
    });
    let mut covered = Covered::new();
    for line in record.lines() {
        let answer: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |name: &str| answer[name].as_str().expect("text").to_owned();
        let Some(path) = text("path").strip_prefix(PREFIX).map(str::to_owned) else { continue };
        let asked = operations.iter().filter(|o| o.method == *text("method") && o.is_at(&path));
        // a literal goes before a variable at the same place
        let Some(operation) = asked.min_by_key(|o| o.template.matches('{').count()) else {
            continue;
        };
        let status =
            answer["status"].as_u64().and_then(|s| u16::try_from(s).ok()).expect("a status");
        let tests = covered.entry((operation.id.clone(), status)).or_default();
        if !tests.contains(&text("test")) {
            tests.push(text("test"));
        }
    }
    covered.values_mut().for_each(|tests| tests.sort());
    covered
}

#[test]
#[ignore = "reads what the end-to-end tests have recorded: run them first, all of them"]
fn every_operation_has_a_test_for_its_success_and_for_each_failure() {
    let operations = operations();
    let covered = covered(&operations);
    let mut table =
        String::from("| operation | status | test | tests in all |\n|---|---|---|---|\n");
    let mut missing = Vec::new();
    for operation in &operations {
        let name = format!("{} {}", operation.method, operation.template);
        for status in &operation.statuses {
            let tests = covered.get(&(operation.id.clone(), *status));
            match (tests.and_then(|tests| tests.first()), impossible(operation, *status)) {
                (Some(test), _) => {
                    let all = tests.map_or(0, Vec::len);
                    let _ = writeln!(table, "| `{name}` | {status} | `{test}` | {all} |");
                }
                (None, Some(why)) => {
                    let _ = writeln!(table, "| `{name}` | {status} | cannot be: {why} | 0 |");
                }
                (None, None) => missing.push(format!("{name}: no test was answered {status}")),
            }
        }
    }
    let file = record::path().with_file_name("operations.md");
    std::fs::write(&file, &table).expect("written");
    println!("{table}\n{} operations; the table is in {}", operations.len(), file.display());
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
