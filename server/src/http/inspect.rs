//! Everything that is wrong with a body, since serde stops at the first.
//!
//! Walks the value along the schema that also documents it. What is missing, the schema tells; what
//! has the wrong type, serde itself does: each part is read alone, with nothing beside it.

use super::issues::described;
use crate::error::{Issue, Step};
use crate::store::ids::CUID_PATTERN;
use schemars::schema::{InstanceType, Schema, SchemaObject, SingleOrVec};
use schemars::{JsonSchema, Map};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Most violations that one answer lists: a hostile body must not be answered with one larger than
/// itself.
pub const MAX_ISSUES: usize = 100;
/// The budget for explaining what is wrong with a body: a part of it that is read alone, or
/// completed, costs one, and as much more as its names and texts are longer than [`PART`].
const MAX_PARTS: usize = 2_000;
/// The length that costs as much as a part, in bytes.
const PART: usize = 256;

/// The cost of explaining `text`, besides that of its part.
fn cost(text: &str) -> usize {
    text.len() / PART
}

/// What is wrong with `value` as a `T`: types and missing fields.
pub(super) fn inspect<T: DeserializeOwned + JsonSchema>(value: &Value) -> Vec<Issue> {
    let root = schemars::r#gen::SchemaGenerator::default().into_root_schema_for::<T>();
    let mut inspection = Inspection {
        definitions: &root.definitions,
        read: |part| serde_path_to_error::deserialize::<_, T>(part).err(),
        parts_left: MAX_PARTS,
        at: Vec::new(),
        at_cost: 0,
        issues: Vec::new(),
    };
    inspection.look(value, &root.schema);
    inspection.issues
}

/// `value` with stand-ins for the required fields that it lacks, so that the rest of it can be
/// checked. One that takes a few words only takes a different one in each; what is wrong with the
/// rest is wrong whichever it would have been. None where that would take more than [`MAX_PARTS`].
pub(super) fn completed<T: JsonSchema>(value: &Value) -> Vec<Value> {
    let root = schemars::r#gen::SchemaGenerator::default().into_root_schema_for::<T>();
    let mut ways = 1;
    let mut all = Vec::new();
    let mut parts_left = MAX_PARTS;
    while all.len() < ways {
        let mut completion = Completion {
            definitions: &root.definitions,
            way: all.len(),
            ways: &mut ways,
            parts_left: &mut parts_left,
        };
        // what is wrong in some ways alone is not wrong in all: it takes all of them, or none
        let Some(whole) = completion.complete(value, &root.schema) else { return Vec::new() };
        all.push(whole);
    }
    all
}

/// One of the ways to complete a value.
struct Completion<'a> {
    definitions: &'a Map<String, Schema>,
    way: usize,
    /// How many there are, as far as is known.
    ways: &'a mut usize,
    parts_left: &'a mut usize,
}

impl Completion<'_> {
    fn complete(&mut self, value: &Value, schema: &SchemaObject) -> Option<Value> {
        let definitions = self.definitions;
        self.spend(1)?;
        match (value, &schema.object, schema.array.as_ref().and_then(|a| a.items.as_ref())) {
            (Value::Object(fields), Some(object), _) => {
                let mut whole = serde_json::Map::new();
                for (name, field) in fields {
                    let described = object.properties.get(name);
                    let described = described.and_then(|schema| resolve(definitions, schema));
                    let field = match described {
                        Some(schema) => self.complete(field, schema)?,
                        None => self.copy(field)?,
                    };
                    whole.insert(name.clone(), field);
                }
                for name in object.required.iter().filter(|name| !fields.contains_key(*name)) {
                    let described = object.properties.get(name);
                    let described = described.and_then(|schema| resolve(definitions, schema));
                    let values = described.map(|schema| stand_ins(definitions, schema));
                    let values = values.unwrap_or_default();
                    *self.ways = (*self.ways).max(values.len());
                    if let Some(value) = values.get(self.way).or(values.last()) {
                        self.spend(1)?;
                        whole.insert(name.clone(), value.clone());
                    }
                }
                Some(Value::Object(whole))
            }
            (Value::Array(elements), _, Some(SingleOrVec::Single(items))) => {
                let Some(items) = resolve(definitions, items) else { return self.copy(value) };
                elements.iter().map(|element| self.complete(element, items)).collect()
            }
            _ => self.copy(value),
        }
    }

    /// A copy of a value that no schema describes.
    fn copy(&mut self, value: &Value) -> Option<Value> {
        self.spend(parts_of(value))?;
        Some(value.clone())
    }

    fn spend(&mut self, parts: usize) -> Option<()> {
        *self.parts_left = self.parts_left.checked_sub(parts)?;
        Some(())
    }
}

/// The cost of copying a value.
fn parts_of(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + cost(text),
        Value::Array(elements) => 1 + elements.iter().map(parts_of).sum::<usize>(),
        Value::Object(fields) => {
            1 + fields.iter().map(|(name, field)| cost(name) + parts_of(field)).sum::<usize>()
        }
        _ => 1,
    }
}

/// Values that a schema accepts: every word of a closed set, else the emptiest one.
fn stand_ins(definitions: &Map<String, Schema>, schema: &SchemaObject) -> Vec<Value> {
    let parts = schema.subschemas.as_ref().and_then(|s| s.one_of.as_ref()).into_iter().flatten();
    let parts = parts.filter_map(|part| resolve(definitions, part));
    let words = parts.chain([schema]).filter_map(|part| part.enum_values.clone()).flatten();
    let words = words.collect::<Vec<_>>();
    if !words.is_empty() {
        return words;
    }
    let id = schema.string.as_ref().and_then(|s| s.pattern.as_deref()) == Some(CUID_PATTERN);
    match &schema.instance_type {
        Some(SingleOrVec::Single(kind)) => vec![match **kind {
            InstanceType::String if id => format!("c{:024}", 0).into(),
            InstanceType::String => "".into(),
            InstanceType::Integer | InstanceType::Number => 0.into(),
            InstanceType::Boolean => false.into(),
            InstanceType::Array => Value::Array(Vec::new()),
            InstanceType::Object => Value::Object(serde_json::Map::new()),
            InstanceType::Null => Value::Null,
        }],
        _ => Vec::new(),
    }
}

type Refusal = serde_path_to_error::Error<serde_json::Error>;

/// The schema itself, behind references and the `null` that an optional field also takes.
fn resolve<'a>(
    definitions: &'a Map<String, Schema>,
    schema: &'a Schema,
) -> Option<&'a SchemaObject> {
    let Schema::Object(schema) = schema else { return None };
    if let Some(reference) = &schema.reference {
        let name = reference.strip_prefix("#/definitions/")?;
        return resolve(definitions, definitions.get(name)?);
    }
    let parts = schema.subschemas.as_ref().and_then(|s| s.any_of.as_ref().or(s.all_of.as_ref()));
    let structured = parts.and_then(|parts| {
        let mut parts = parts.iter().filter_map(|part| resolve(definitions, part));
        parts
            .find(|part| part.object.is_some() || part.array.is_some() || part.subschemas.is_some())
    });
    Some(structured.unwrap_or(schema))
}

struct Inspection<'a> {
    definitions: &'a Map<String, Schema>,
    read: fn(&Value) -> Option<Refusal>,
    parts_left: usize,
    at: Vec<Step>,
    /// The cost of the names on the way here.
    at_cost: usize,
    issues: Vec<Issue>,
}

impl<'a> Inspection<'a> {
    fn look(&mut self, value: &Value, schema: &'a SchemaObject) {
        let text = value.as_str().map_or(0, cost);
        let spent = self.parts_left.checked_sub(1 + self.at_cost + text);
        self.parts_left = spent.unwrap_or(0);
        if spent.is_none() || self.issues.len() >= MAX_ISSUES {
            return;
        }
        if let Some(issue) = self.wrong_type(value) {
            self.issues.push(issue);
            return;
        }
        match value {
            Value::Object(fields) => {
                let Some(object) = &schema.object else { return };
                let given = |name: &str| fields.get(name).is_some_and(|field| !field.is_null());
                for name in object.required.iter().filter(|name| !given(name)) {
                    let mut path = self.at.clone();
                    path.push(Step::from(name.clone()));
                    self.issues.push(Issue {
                        path,
                        code: "required",
                        message: "is required".into(),
                    });
                }
                for (name, field) in fields.iter().filter(|(name, _)| given(name)) {
                    let described =
                        object.properties.get(name).or(object.additional_properties.as_deref());
                    self.descend(Step::from(name.clone()), field, described);
                }
            }
            Value::Array(elements) => {
                let items = schema.array.as_ref().and_then(|array| array.items.as_ref());
                let Some(SingleOrVec::Single(items)) = items else { return };
                for (i, element) in elements.iter().enumerate() {
                    self.descend(Step::Index(i), element, Some(&**items));
                }
            }
            _ => {}
        }
    }

    fn descend(&mut self, step: Step, value: &Value, schema: Option<&'a Schema>) {
        // an unknown field is ignored
        let resolved = schema.and_then(|schema| resolve(self.definitions, schema));
        let Some(schema) = resolved else { return };
        let name = match &step {
            Step::Field(name) => cost(name),
            Step::Index(_) => 0,
        };
        self.at.push(step);
        self.at_cost += name;
        self.look(value, schema);
        self.at_cost -= name;
        self.at.pop();
    }

    /// What serde says of `value` at this place, without what lies below or beside it.
    fn wrong_type(&self, value: &Value) -> Option<Issue> {
        let hollow = match value {
            Value::Array(_) => Value::Array(Vec::new()),
            Value::Object(_) => Value::Object(serde_json::Map::new()),
            scalar => scalar.clone(),
        };
        let alone = self.at.iter().rev().fold(hollow, |inner, step| match step {
            Step::Field(name) => Value::Object([(name.to_string(), inner)].into_iter().collect()),
            Step::Index(_) => Value::Array(vec![inner]),
        });
        let refusal = (self.read)(&alone)?;
        let (code, message) = described(&refusal.inner().to_string());
        // what is missing, here or around, is no fault of this part
        let here = refusal.path().iter().count() == self.at.len() && code == "invalid";
        here.then(|| Issue { path: self.at.clone(), code, message })
    }
}
