//! Generates the inner half of the client from the OpenAPI document.
//!
//! progenitor writes one builder for each operation and one type for each schema. Before it reads
//! the document, some things are changed in it, all for the sake of the people who use the types:
//!
//! * every `{T}Envelope` becomes the one generic `Envelope<T>`;
//! * enumerations become open ones, so that a value of a newer server is not an error;
//! * the error responses become one, as they have one shape;
//! * operations that answer with a stream of events go: `client/events.rs` reads them;
//! * the lists that once had no total need not have one, since an older server gives none;
//! * patterns and lengths go: they would turn every string into a type of its own. The server
//!   checks them, and answers with everything that is wrong.

use std::{collections::BTreeSet, env, error::Error, fmt::Write as _, fs, path::Path};

use openapiv3::OpenAPI;
use progenitor::{GenerationSettings, Generator, InterfaceStyle, TypeImpl};
use serde_json::Value;

/// progenitor reads OpenAPI 3.0 alone.
const SPEC: &str = "spec/openapi-3.0.json";

/// Keywords that the server enforces, and that the generated types need not repeat.
const CONSTRAINTS: [&str; 7] =
    ["pattern", "minLength", "maxLength", "maxItems", "maxProperties", "minimum", "maximum"];

/// Lists that were whole, and without a total, before they had pages.
const ONCE_WHOLE: [&str; 7] = [
    "InvitationList",
    "KeyList",
    "McpServerList",
    "MemberList",
    "SessionList",
    "SpaceMcpServerList",
    "SpaceMemberList",
];

/// Schemas with a type written by hand in `client/`: where it lives.
const BY_HAND: [(&str, &str); 14] = [
    ("ErrorEnvelope", "crate::envelope::ErrorEnvelope"),
    ("ErrorBody", "crate::envelope::ErrorBody"),
    ("ErrorDetails", "crate::envelope::ErrorDetails"),
    ("ErrorCode", "crate::ErrorCode"),
    ("FieldError", "crate::FieldError"),
    ("PathStep", "crate::PathStep"),
    // one error for both dialects
    ("CanonicalError", "crate::envelope::ErrorEnvelope"),
    ("CanonicalErrorType", "crate::ErrorCode"),
    ("CanonicalIssue", "crate::FieldError"),
    ("LocStep", "crate::PathStep"),
    // the document says more of labels that are sent than of those that are answered
    ("NewLabels", "::std::collections::HashMap<String, Vec<String>>"),
    ("OpenApiDocument", "::serde_json::Value"),
    // holds a secret, which must not show in `Debug` output
    ("MintedKey", "crate::keys::MintedKey"),
    ("MintedKeyData", "crate::keys::MintedKeyData"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={SPEC}");
    println!("cargo:rerun-if-changed=build.rs");

    let mut document: Value = serde_json::from_str(&fs::read_to_string(SPEC)?)?;
    drop_constraints(&mut document);
    merge_errors(&mut document);
    drop_event_streams(&mut document);
    allow_missing_totals(&mut document);
    let schemas = document["components"]["schemas"]
        .as_object()
        .ok_or("the OpenAPI document has no components.schemas")?
        .clone();

    let mut settings = GenerationSettings::new();
    settings
        .with_interface(InterfaceStyle::Builder)
        .with_derive("PartialEq")
        .with_inner_type(syn::parse_str("crate::call::Call")?);
    for (schema, path) in BY_HAND {
        settings.with_replacement(schema, path, std::iter::empty::<TypeImpl>());
    }
    let by_hand: BTreeSet<&str> = BY_HAND.iter().map(|(schema, _)| *schema).collect();
    let mut enums = String::new();
    for (name, schema) in &schemas {
        if by_hand.contains(name.as_str()) {
            continue;
        }
        if let Some(data) = name.strip_suffix("Envelope") {
            let data = match BY_HAND.iter().find(|(schema, _)| *schema == data) {
                Some((_, path)) => (*path).to_string(),
                None => format!("crate::generated::types::{data}"),
            };
            let envelope = format!("crate::envelope::Envelope<{data}>");
            settings.with_replacement(name, envelope, std::iter::empty::<TypeImpl>());
        } else if let Some(values) = enumeration(schema) {
            write_enum(&mut enums, name, schema, &values)?;
            let path = format!("crate::enums::{name}");
            settings.with_replacement(
                name,
                path,
                [TypeImpl::Display, TypeImpl::FromStr].into_iter(),
            );
        }
    }

    let spec: OpenAPI = serde_json::from_value(document)?;
    let tokens = Generator::new(&settings).generate_tokens(&spec)?;
    let client = prettyplease::unparse(&syn::parse2(tokens)?);
    let enums = prettyplease::unparse(&syn::parse_str(&enums)?);

    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("client.rs"), client)?;
    fs::write(Path::new(&out).join("enums.rs"), enums)?;
    Ok(())
}

/// Removes [`CONSTRAINTS`] from every schema of the document.
fn drop_constraints(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            if fields.contains_key("type") {
                fields.retain(|key, _| !CONSTRAINTS.contains(&key.as_str()));
            }
            fields.retain(|key, value| !(key == "parameters" && value.is_null()));
            fields.values_mut().for_each(drop_constraints);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_constraints),
        _ => {}
    }
}

/// Takes the total out of what the lists of [`ONCE_WHOLE`] must have.
fn allow_missing_totals(document: &mut Value) {
    for list in ONCE_WHOLE {
        let required = &mut document["components"]["schemas"][list]["required"];
        if let Some(required) = required.as_array_mut() {
            required.retain(|field| field != "total");
        }
    }
}

/// Leaves the responses that succeed, and the two ranges that every other status is in.
fn merge_errors(document: &mut Value) {
    let operations = document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(|paths| paths.values_mut())
        .filter_map(Value::as_object_mut)
        .flat_map(|methods| methods.values_mut());
    for operation in operations {
        if let Some(responses) = operation["responses"].as_object_mut() {
            responses.retain(|status, _| status.starts_with('2') || status.ends_with("XX"));
        }
    }
}

/// Removes the operations that answer with server-sent events, and what describes such an event as
/// a whole: progenitor knows answers that end.
fn drop_event_streams(document: &mut Value) {
    let mut events = Vec::new();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for methods in paths.filter_map(Value::as_object_mut) {
        methods.retain(|_, operation| {
            let schema = &operation["responses"]["200"]["content"]["text/event-stream"]["schema"];
            events.extend(schema["$ref"].as_str().map(str::to_string));
            schema.is_null()
        });
    }
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    if let Some(schemas) = schemas {
        schemas.retain(|name, _| !events.contains(&format!("#/components/schemas/{name}")));
    }
}

/// The values of a schema that lists strings, each with its description; `None` for any other.
fn enumeration(schema: &Value) -> Option<Vec<(String, String)>> {
    let describe = |value: &Value, of: &Value| {
        Some((value.as_str()?.to_string(), of["description"].as_str().unwrap_or("").to_string()))
    };
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| describe(value, &Value::Null)).collect();
    }
    let mut all = Vec::new();
    for variant in schema["oneOf"].as_array()? {
        for value in variant["enum"].as_array()? {
            all.push(describe(value, variant)?);
        }
    }
    Some(all)
}

/// Calls the macro `open_enum!` of `client/enums.rs`.
fn write_enum(
    out: &mut String,
    name: &str,
    schema: &Value,
    values: &[(String, String)],
) -> Result<(), Box<dyn Error>> {
    let description = schema["description"].as_str().unwrap_or(name);
    writeln!(out, "open_enum! {{ #[doc = {description:?}] {name} {{")?;
    for (value, description) in values {
        let variant = pascal_case(value);
        let description = if description.is_empty() { value } else { description };
        writeln!(out, "#[doc = {description:?}] {variant} = {value:?},")?;
    }
    writeln!(out, "}} }}")?;
    Ok(())
}

/// `SNAKE_CASE` to `PascalCase`.
fn pascal_case(value: &str) -> String {
    value
        .split(['_', '-', ' '])
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().collect::<String>() + &letters.as_str().to_lowercase()
            })
        })
        .collect()
}
