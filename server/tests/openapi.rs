//! The checked-in documents are what the code describes.
//!
//! After a change of the API: `EXPECTORATE=overwrite cargo test -p switchy-server --test openapi`.

use serde_json::Value;
use switchy_server::api::{document_3_0, document_3_1};
use switchy_server::http::openapi::print;

#[test]
fn the_documents_are_current() {
    let (old, new) = (document_3_0().expect("3.0"), document_3_1().expect("3.1"));
    expectorate::assert_contents("../spec/openapi-3.0.json", &print(&old));
    expectorate::assert_contents("../spec/openapi.json", &print(&new));
    let mcp = switchy_server::mcp::server::document::document();
    expectorate::assert_contents("../spec/mcp-openapi.json", &print(&mcp));
}

fn operations(doc: &Value) -> impl Iterator<Item = (String, &Value)> {
    doc["paths"].as_object().into_iter().flatten().flat_map(|(path, item)| {
        item.as_object().into_iter().flatten().map(move |(method, operation)| {
            (format!("{} {path}", method.to_uppercase()), operation)
        })
    })
}

#[test]
fn every_operation_is_described_in_full() {
    let doc = document_3_1().expect("3.1");
    assert!(operations(&doc).count() >= 16);
    for (name, operation) in operations(&doc) {
        for field in ["summary", "description", "operationId"] {
            assert!(operation[field].as_str().is_some_and(|s| !s.is_empty()), "{name}: {field}");
        }
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}: one tag");
        assert!(operation["security"].is_array(), "{name}: security");
        let responses = operation["responses"].as_object().expect("responses");
        let successes = responses.keys().filter(|status| status.starts_with('2')).count();
        assert_eq!(successes, 1, "{name}: one success status");
        for status in ["400", "401", "403", "404", "409", "429", "500"] {
            assert!(responses.contains_key(status), "{name}: {status}");
        }
    }
}

#[test]
fn every_failure_has_its_own_description_and_example() {
    let doc = document_3_1().expect("3.1");
    let responses = doc["components"]["responses"].as_object().expect("responses");
    let mut descriptions = std::collections::BTreeSet::new();
    for (name, response) in responses {
        let description = response["description"].as_str().expect(name);
        assert!(descriptions.insert(description), "{name} shares its description");
        let example = &response["content"]["application/json"]["example"];
        let schema = &response["content"]["application/json"]["schema"]["$ref"];
        if schema == "#/components/schemas/CanonicalError" {
            assert!(example["code"].is_u64() && example["type"].is_string(), "{name}");
        } else {
            assert_eq!(example["success"], false, "{name}");
            assert!(example["error"]["code"].is_string(), "{name}");
        }
    }
    assert!(responses["RateLimit"]["headers"]["Retry-After"].is_object());
}

#[test]
fn every_post_that_writes_takes_an_idempotency_key() {
    let doc = document_3_1().expect("3.1");
    for (name, operation) in operations(&doc).filter(|(name, _)| name.starts_with("POST")) {
        if name.ends_with("/search") {
            continue; // changes nothing
        }
        if operation["security"] == serde_json::json!([{}]) {
            continue; // who calls it has no key, and knows nothing of ours
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        assert!(parameters.iter().any(|p| p["name"] == "Idempotency-Key"), "{name}");
    }
}

#[test]
fn no_keyword_of_3_0_survives_in_3_1() {
    fn walk(value: &Value, at: &str) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let old =
                        name == "nullable" || (name.starts_with("exclusive") && field.is_boolean());
                    assert!(!old, "{at}/{name}");
                    walk(field, &format!("{at}/{name}"));
                }
            }
            Value::Array(elements) => elements.iter().for_each(|e| walk(e, at)),
            _ => {}
        }
    }
    walk(&document_3_1().expect("3.1"), "");
}

#[test]
fn every_operation_documents_the_failures_of_its_dialect() {
    let doc = document_3_1().expect("3.1");
    let mut canonical = 0;
    for (name, operation) in operations(&doc) {
        let of_save_session = name.contains(" /v1/org/");
        canonical += usize::from(of_save_session);
        for (status, response) in operation["responses"].as_object().expect("responses") {
            if status.starts_with('2') {
                continue;
            }
            let reference = response["$ref"].as_str().expect("a reference");
            let response = doc.pointer(&reference[1..]).expect("a response");
            let schema = response["content"]["application/json"]["schema"]["$ref"].as_str();
            let expected = if of_save_session { "CanonicalError" } else { "ErrorEnvelope" };
            assert!(schema.is_some_and(|s| s.ends_with(expected)), "{name}: {status}");
            if of_save_session {
                let example = &response["content"]["application/json"]["example"];
                assert_eq!(example["code"].to_string(), *status, "{name}");
            }
        }
        if of_save_session {
            for status in ["422", "426", "502", "504"] {
                assert!(operation["responses"][status].is_object(), "{name}: {status}");
            }
            assert_eq!(operation["security"].as_array().map(Vec::len), Some(2), "{name}");
        }
    }
    assert_eq!(canonical, 9);
}
