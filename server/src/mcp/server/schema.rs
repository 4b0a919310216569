//! JSON Schemas of the tools' arguments and results, from the Rust types that read and write them.

use schemars::JsonSchema;
use schemars::r#gen::SchemaSettings;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The schema of `T` in JSON Schema 2020-12, with everything in one piece: not every client follows
/// references.
pub fn schema_of<T: JsonSchema>() -> Arc<Map<String, Value>> {
    let settings = SchemaSettings::draft2019_09().with(|settings| {
        settings.inline_subschemas = true;
        // of what is said in this dialect, all means the same in 2020-12
        settings.meta_schema = None;
    });
    let root = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = serde_json::to_value(root).unwrap_or_default();
    tidy(&mut schema);
    let mut schema = match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    // the type's own name and comment, which the tool's say better
    schema.shift_remove("title");
    schema.shift_remove("description");
    Arc::new(schema)
}

/// Formats that only Rust knows say nothing to a validator, or make it complain.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let foreign = fields.get("format").and_then(Value::as_str);
            if foreign.is_some_and(|f| f.starts_with("uint") || matches!(f, "int64" | "double")) {
                fields.shift_remove("format");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(elements) => elements.iter_mut().for_each(tidy),
        _ => {}
    }
}
