//! The OpenAPI documents: what Dropshot emits, completed with what it cannot know (every failure
//! status, their headers and examples), and the same as OpenAPI 3.1.

mod canonical;

use super::Dialect;
use serde_json::{Map, Value, json};

/// A status that every operation can answer with.
struct FailureStatus {
    status: u16,
    name: &'static str,
    code: &'static str,
    description: &'static str,
    message: &'static str,
}

/// The seven failures of the contract (A4), as every operation's page lists them.
const FAILURES: [FailureStatus; 7] = [
    FailureStatus {
        status: 400,
        name: "ValidationError",
        code: "VALIDATION_ERROR",
        description: "The body, a parameter or a header is not acceptable. `details.errors` lists \
                      everything that is wrong.",
        message: "name is required",
    },
    FailureStatus {
        status: 401,
        name: "AuthError",
        code: "AUTH_ERROR",
        description: "The API key is missing, unknown, revoked or expired, or its user has left \
                      the organization.",
        message: "send an API key as `Authorization: Bearer sk_live_…`",
    },
    FailureStatus {
        status: 403,
        name: "Forbidden",
        code: "FORBIDDEN",
        description: "The caller is known, but has not the role, the Space membership or the \
                      scope that this needs.",
        message: "you are not a member of this Space",
    },
    FailureStatus {
        status: 404,
        name: "NotFound",
        code: "NOT_FOUND",
        description: "There is no such thing, or it is invisible to the caller; the two are never \
                      told apart.",
        message: "no such memory",
    },
    FailureStatus {
        status: 409,
        name: "Conflict",
        code: "CONFLICT",
        description: "A duplicate, a race, or a transition that the state does not allow. Also an \
                      `Idempotency-Key` that was used for another body, or whose first request is \
                      still running (then with `Retry-After`).",
        message: "a Space with the slug `platform` exists already",
    },
    FailureStatus {
        status: 429,
        name: "RateLimit",
        code: "RATE_LIMIT",
        description: "The key's limit is spent: so many reads and so many writes in any 60 \
                      seconds. Or as many requests of the key or its organization are running as \
                      may. Wait for `Retry-After` seconds.",
        message: "rate limit of 60 requests a minute exceeded; retry in 12 s",
    },
    FailureStatus {
        status: 500,
        name: "InternalError",
        code: "INTERNAL_ERROR",
        description: "Unexpected; `metadata.requestId` identifies it in the server's log.",
        message: "an unexpected error occurred; the request id identifies it in the server's log",
    },
];

/// What can happen besides, mostly before a handler is reached (contract E1).
const ALSO: [FailureStatus; 3] = [
    FailureStatus {
        status: 413,
        name: "TooLarge",
        code: "VALIDATION_ERROR",
        description: "The body is larger than 1 MiB.",
        message: "the request body is larger than 1048576 bytes",
    },
    FailureStatus {
        status: 415,
        name: "UnsupportedMediaType",
        code: "VALIDATION_ERROR",
        description: "The body is not sent as `Content-Type: application/json`.",
        message: "the request body must be sent as Content-Type: application/json",
    },
    FailureStatus {
        status: 503,
        name: "Unavailable",
        code: "INTERNAL_ERROR",
        description: "Overloaded, shutting down, past the request's deadline, or the database is \
                      away. Wait for `Retry-After` seconds.",
        message: "the database is not reachable at the moment",
    },
];

/// Dropshot's own responses, one a dialect, which its ranges (`4XX`, `5XX`) refer to.
const RANGES: [&str; 2] = ["ErrorEnvelope", "CanonicalError"];

/// What a document says about the API as a whole.
pub struct About {
    /// The API's name.
    pub title: &'static str,
    /// A few sentences of Markdown.
    pub description: &'static str,
    /// The contract's version.
    pub version: semver::Version,
    /// Base URLs, each with a description.
    pub servers: &'static [(&'static str, &'static str)],
    /// Paths are served below this, and documented without it.
    pub prefix: &'static str,
    /// Operations that need no key.
    pub public: &'static [&'static str],
    /// Operations that answer with server-sent events, each of which their schema describes.
    pub event_streams: &'static [&'static str],
    /// Operations whose body may be left out.
    pub optional_bodies: &'static [&'static str],
}

/// OpenAPI 3.0.3: the union of what Dropshot emits for `parts`, completed.
pub fn document_3_0(parts: &[Value], about: &About) -> Value {
    let mut doc = union(parts);
    doc["info"]["description"] = json!(about.description);
    doc["info"]["license"] =
        json!({ "name": "MIT OR Apache-2.0", "url": "https://spdx.org/licenses/MIT.html" });
    doc["servers"] = about
        .servers
        .iter()
        .map(|(url, description)| json!({ "url": url, "description": description }))
        .collect();
    doc["components"]["securitySchemes"] = json!({
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key of one organization: `Authorization: Bearer sk_live_…`. It \
                            acts as the user who minted it, with the scopes it was minted with.",
        }
    });
    doc["security"] = json!([{ "apiKey": [] }]);
    // by the paths as they are served, before they lose their prefix
    for_each_operation(&mut doc, |path, operation| {
        complete(Dialect::of(path), operation, about);
    });
    strip_prefix(&mut doc, about.prefix);
    add_failure_responses(&mut doc);
    canonical::add_components(&mut doc["components"]);
    describe_parameters(&mut doc);
    doc
}

/// The same as OpenAPI 3.1.0, as it is served.
pub fn document_3_1(doc_3_0: Value) -> Value {
    let mut doc = doc_3_0;
    doc["openapi"] = json!("3.1.0");
    for_each_operation(&mut doc, |_, operation| {
        if let Some(responses) = operation["responses"].as_object_mut() {
            responses.retain(|status, _| !status.ends_with("XX"));
        }
    });
    if let Some(responses) = doc["components"]["responses"].as_object_mut() {
        responses.retain(|name, _| !RANGES.contains(&name.as_str()));
    }
    doc["info"]["license"] =
        json!({ "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" });
    to_3_1(&mut doc);
    doc
}

/// One document out of several descriptions, which only exist because Dropshot's router cannot
/// hold a literal beside a variable.
fn union(parts: &[Value]) -> Value {
    let mut parts = parts.iter();
    let mut doc = parts.next().cloned().unwrap_or_else(|| json!({}));
    for part in parts {
        for section in ["/paths", "/components/schemas", "/components/responses"] {
            let Some(more) = part.pointer(section).and_then(Value::as_object) else { continue };
            let Some(all) = doc.pointer_mut(section).and_then(Value::as_object_mut) else {
                continue;
            };
            for (name, item) in more {
                match (all.get_mut(name).and_then(Value::as_object_mut), item.as_object()) {
                    // one path, several methods
                    (Some(known), Some(item)) if section == "/paths" => {
                        known.extend(item.clone());
                    }
                    _ => {
                        all.insert(name.clone(), item.clone());
                    }
                }
            }
        }
    }
    for section in ["/paths", "/components/schemas"] {
        if let Some(all) = doc.pointer_mut(section).and_then(Value::as_object_mut) {
            all.sort_keys();
        }
    }
    doc
}

fn strip_prefix(doc: &mut Value, prefix: &str) {
    let Some(paths) = doc["paths"].as_object_mut() else { return };
    let stripped = std::mem::take(paths)
        .into_iter()
        .map(|(path, item)| match path.strip_prefix(prefix) {
            Some(rest) if rest.starts_with('/') => (rest.to_owned(), item),
            _ => (path, item),
        })
        .collect();
    *paths = stripped;
}

fn for_each_operation(doc: &mut Value, mut f: impl FnMut(&str, &mut Value)) {
    for (path, item) in doc["paths"].as_object_mut().into_iter().flatten() {
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            if operation.get("operationId").is_some() {
                f(path, operation);
            }
        }
    }
}

fn complete(dialect: Dialect, operation: &mut Value, about: &About) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let public = about.public.contains(&id.as_str());
    operation["security"] = match dialect {
        _ if public => json!([{}]),
        Dialect::SaveSession => canonical::security(),
        Dialect::Switchy | Dialect::JsonRpc => json!([{ "apiKey": [] }]),
    };
    if dialect == Dialect::SaveSession
        && let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut)
    {
        parameters.push(canonical::client_version());
    }
    list_repeated_parameters(operation);
    let has_body = operation.get("requestBody").is_some();
    let repeatable = takes_idempotency_key(operation);
    if has_body && about.optional_bodies.contains(&id.as_str()) {
        operation["requestBody"]["required"] = json!(false);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    let ranges = ["4XX", "5XX"].map(|range| responses.shift_remove_entry(range));
    let streams = about.event_streams.contains(&id.as_str());
    for (status, response) in responses.iter_mut() {
        if status.starts_with('2') {
            let replayed = repeatable && dialect == Dialect::SaveSession;
            response["headers"] = success_headers(public, status == "201", replayed);
            if streams {
                let content = response["content"]["application/json"].take();
                response["content"] = json!({ super::sse::CONTENT_TYPE: content });
            }
        }
    }
    match dialect {
        // JSON-RPC has a document of its own: none of its operations is in this one
        Dialect::Switchy | Dialect::JsonRpc => {
            for failure in FAILURES.iter().chain(&ALSO) {
                let applies = has_body || !matches!(failure.status, 413 | 415);
                if applies {
                    let reference = format!("#/components/responses/{}", failure.name);
                    responses.insert(failure.status.to_string(), json!({ "$ref": reference }));
                }
            }
        }
        Dialect::SaveSession => responses.extend(canonical::failures(has_body)),
    }
    // progenitor matches what is not listed by these; the published document does without
    responses.extend(ranges.into_iter().flatten());
}

fn takes_idempotency_key(operation: &Value) -> bool {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    parameters.into_iter().flatten().any(|parameter| parameter["name"] == "Idempotency-Key")
}

/// Marks the schema of a query parameter that may be repeated; the number is how often at most.
pub const REPEATED: &str = "x-repeated";

/// Marks the schema of an object with the pattern of its keys, for which OpenAPI 3.0 has no keyword.
pub const KEY_PATTERN: &str = "x-key-pattern";

/// Dropshot takes no lists in the query; what [`REPEATED`] marks is one.
fn list_repeated_parameters(operation: &mut Value) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let Some(schema) = parameter["schema"].as_object_mut() else { continue };
        let Some(most) = schema.shift_remove(REPEATED) else { continue };
        schema.shift_remove("nullable");
        let items = Value::Object(std::mem::take(schema));
        parameter["schema"] = json!({ "type": "array", "items": items, "maxItems": most });
        parameter["style"] = json!("form");
        parameter["explode"] = json!(true);
    }
}

fn success_headers(public: bool, created: bool, replayed: bool) -> Value {
    let mut names = vec!["X-Request-Id"];
    if !public {
        names.extend(["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]);
    }
    if created {
        names.extend(["Location", "Idempotency-Replayed"]);
    }
    if replayed {
        names.push("Idempotency-Replayed");
    }
    names
        .into_iter()
        .map(|name| (name, json!({ "$ref": format!("#/components/headers/{name}") })))
        .map(|(name, reference)| (name.to_owned(), reference))
        .collect::<Map<_, _>>()
        .into()
}

fn example(failure: &FailureStatus) -> Value {
    let details = match failure.status {
        400 => json!({ "errors": [
            { "path": ["name"], "code": "required", "message": "is required" },
            { "path": ["tags", 3], "code": "too_long", "message": "must be at most 50 characters" },
        ] }),
        429 => json!({ "limit": 60, "resetAt": "2026-04-19T12:35:08.000Z", "retryAfter": 12 }),
        _ => json!({}),
    };
    json!({
        "success": false,
        "error": { "code": failure.code, "message": failure.message, "details": details },
        "metadata": {
            "timestamp": "2026-04-19T12:34:56.789Z",
            "requestId": "5b0f1f0a-9f5e-4f0e-8a57-0d3c8f5c2b11",
        },
    })
}

fn add_failure_responses(doc: &mut Value) {
    let header = |description: &str, minimum: u32, example: Value| {
        json!({
            "description": description,
            "schema": { "type": "integer", "minimum": minimum },
            "example": example,
        })
    };
    doc["components"]["headers"] = json!({
        "Retry-After": header("Seconds to wait before trying again.", 1, json!(12)),
        "RateLimit-Limit": header(
            "Requests in any 60 seconds, of the bucket (reads or writes) that this one counted \
             against. Absent when the operator set no limit.", 1, json!(60)),
        "RateLimit-Remaining": header("Requests left in that bucket now.", 0, json!(59)),
        "RateLimit-Reset": header("Seconds until the next place is free.", 0, json!(60)),
        "X-Request-Id": {
            "description": "Identifies this answer in the server's log.",
            "schema": { "type": "string", "maxLength": 64 },
            "example": "5b0f1f0a-9f5e-4f0e-8a57-0d3c8f5c2b11",
        },
        "Location": {
            "description": "Where the new resource is.",
            "schema": { "type": "string", "format": "uri-reference" },
            "example": "/api/projects/cmo5w1c2t8zq4k7n3x9b6d0fh",
        },
        "Idempotency-Replayed": {
            "description": "`true` when this answer repeats that of an earlier request with the \
                            same `Idempotency-Key`.",
            "schema": { "type": "string", "enum": ["true"] },
            "example": "true",
        },
    });
    let mut responses = Map::new();
    let mut add = |name: &str, description: &str, retry: bool, example: Value| {
        let mut response = json!({
            "description": description,
            "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/ErrorEnvelope" },
                "example": example,
            } },
        });
        if retry {
            response["headers"] =
                json!({ "Retry-After": { "$ref": "#/components/headers/Retry-After" } });
        }
        responses.insert(name.to_owned(), response);
    };
    for failure in FAILURES.iter().chain(&ALSO) {
        add(
            failure.name,
            failure.description,
            matches!(failure.status, 429 | 503),
            example(failure),
        );
    }
    for name in RANGES {
        if let Some(error) = doc.pointer(&format!("/components/responses/{name}")) {
            responses.insert(name.into(), error.clone());
        }
    }
    doc["components"]["responses"] = Value::Object(responses);
}

/// schemars drops the doc comment of a parameter whose schema is inlined.
fn describe_parameters(doc: &mut Value) {
    for_each_operation(doc, |_, operation| {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            if parameter.get("description").is_none() {
                let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                parameter["description"] = json!(format!("The {name}."));
            }
        }
    });
}

/// Walks everything that is not a schema, until it reaches one. Only *Schema Objects* are
/// rewritten, found by their place in the document: a property named `nullable` is left alone.
fn to_3_1(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(to_3_1),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match name.as_str() {
                    "schema" => schema_to_3_1(field),
                    "schemas" => field
                        .as_object_mut()
                        .into_iter()
                        .flat_map(Map::values_mut)
                        .for_each(schema_to_3_1),
                    "example" | "examples" | "default" => {}
                    extension if extension.starts_with("x-") => {}
                    _ => to_3_1(field),
                }
            }
        }
        _ => {}
    }
}

/// Keywords that say something about a schema rather than constrain it.
const ANNOTATIONS: [&str; 7] =
    ["title", "description", "default", "deprecated", "readOnly", "writeOnly", "examples"];

fn schema_to_3_1(value: &mut Value) {
    let Some(schema) = value.as_object_mut() else { return };
    for (keyword, below) in schema.iter_mut() {
        match keyword.as_str() {
            "properties" | "patternProperties" => {
                below.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(schema_to_3_1);
            }
            "allOf" | "anyOf" | "oneOf" => {
                below.as_array_mut().into_iter().flatten().for_each(schema_to_3_1);
            }
            "items" | "not" | "additionalProperties" => schema_to_3_1(below),
            _ => {}
        }
    }
    // exclusive bounds were booleans beside the bound
    for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        match schema.get(exclusive).and_then(Value::as_bool) {
            Some(true) => match schema.shift_remove(bound) {
                Some(number) => {
                    schema.insert(exclusive.into(), number);
                }
                None => {
                    schema.shift_remove(exclusive);
                }
            },
            Some(false) => {
                schema.shift_remove(exclusive);
            }
            None => {}
        }
    }
    if let Some(pattern) = schema.shift_remove(KEY_PATTERN) {
        schema.insert("propertyNames".into(), json!({ "pattern": pattern }));
    }
    if let Some(example) = schema.shift_remove("example") {
        schema.insert("examples".into(), json!([example]));
    }
    if let Some(Value::Array(only)) = schema.get("enum")
        && only.len() == 1
        && schema.get("nullable").is_none()
    {
        let only = only[0].clone();
        schema.shift_remove("enum");
        schema.insert("const".into(), only);
    }
    if schema.shift_remove("nullable") == Some(json!(true)) {
        make_nullable(schema);
    }
}

fn make_nullable(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    if let Some(kind @ Value::String(_)) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
        return;
    }
    // `{nullable, allOf: [$ref]}` and its like: the rest moves below an anyOf
    let annotations: Map<String, Value> =
        ANNOTATIONS.into_iter().filter_map(|keyword| schema.shift_remove_entry(keyword)).collect();
    let mut inner = std::mem::take(schema);
    *schema = annotations;
    if inner.is_empty() {
        return; // anything at all, null included
    }
    if inner.len() == 1
        && let Some(Value::Array(all)) = inner.get_mut("allOf")
        && all.len() == 1
        && let Some(Value::Object(only)) = all.pop()
    {
        inner = only;
    }
    schema.insert("anyOf".into(), json!([inner, { "type": "null" }]));
}

/// The document as it is checked in and served: pretty, with a final newline.
pub fn print(doc: &Value) -> String {
    // Value's Display cannot fail, in contrast to a general serializer
    format!("{doc:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(schema: Value) -> Value {
        let mut schema = schema;
        schema_to_3_1(&mut schema);
        schema
    }

    #[test]
    fn nullable_becomes_a_type_or_an_any_of() {
        assert_eq!(
            converted(json!({ "type": "string", "nullable": true })),
            json!({ "type": ["string", "null"] })
        );
        assert_eq!(
            converted(json!({
                "nullable": true, "description": "d",
                "allOf": [{ "$ref": "#/components/schemas/X" }],
            })),
            json!({
                "description": "d",
                "anyOf": [{ "$ref": "#/components/schemas/X" }, { "type": "null" }],
            })
        );
        assert_eq!(
            converted(json!({ "type": "string", "enum": ["a", "b"], "nullable": true })),
            json!({ "type": ["string", "null"], "enum": ["a", "b", null] })
        );
    }

    #[test]
    fn boolean_exclusive_bounds_become_numbers() {
        assert_eq!(
            converted(json!({ "type": "number", "minimum": 0, "exclusiveMinimum": true })),
            json!({ "type": "number", "exclusiveMinimum": 0 })
        );
        assert_eq!(
            converted(json!({ "type": "number", "maximum": 9, "exclusiveMaximum": false })),
            json!({ "type": "number", "maximum": 9 })
        );
    }

    #[test]
    fn the_pattern_of_keys_becomes_a_keyword() {
        assert_eq!(
            converted(json!({ "type": "object", KEY_PATTERN: "^[a-z]$" })),
            json!({ "type": "object", "propertyNames": { "pattern": "^[a-z]$" } })
        );
    }

    #[test]
    fn a_property_that_is_called_nullable_is_left_alone() {
        let schema = json!({ "properties": { "nullable": { "type": "boolean" } } });
        assert_eq!(converted(schema.clone()), schema);
    }

    #[test]
    fn an_example_that_looks_like_a_schema_is_left_alone() {
        let mut doc = json!({ "content": { "example": { "nullable": true } } });
        to_3_1(&mut doc);
        assert_eq!(doc, json!({ "content": { "example": { "nullable": true } } }));
    }
}
