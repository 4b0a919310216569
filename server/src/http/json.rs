//! JSON as it is read from a body: as a whole, with everything that is wrong with it, at a cost that
//! is bounded.
//!
//! A body is small, and what it makes a server do need not be: a million bytes hold half a million
//! values, each of which takes a hundred bytes in memory. So the number of values is limited while
//! they are read, and explaining what is wrong with them has a budget (see `inspect.rs`).

use super::inspect::{MAX_ISSUES, completed, inspect};
use super::issues::{Check, accepted, check_rest, located};
use crate::error::{Error, Issue, Result, Step};
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess};
use serde_json::{Map, Number, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// How deeply a JSON body may be nested; serde_json refuses more by itself.
pub const MAX_JSON_DEPTH: usize = 127;

/// Most values of a JSON body: every object, list, text, number, boolean and null counts.
pub const MAX_VALUES: usize = 100_000;

/// Longest name of a field, in bytes.
pub const MAX_NAME: usize = 4_096;

/// How much of a name a message repeats, in characters.
const MAX_NAME_SHOWN: usize = 100;

/// Why a document is not read.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON.
    #[error("the request body is not valid JSON: {0}")]
    Syntax(String),
    /// It is beyond a limit, or ambiguous.
    #[error("{0}")]
    Refused(String),
}

impl From<JsonError> for Error {
    fn from(unreadable: JsonError) -> Self {
        Error::Malformed(unreadable.to_string().into())
    }
}

/// Reads a JSON document within the limits of a body: [`MAX_VALUES`], [`MAX_NAME`],
/// [`MAX_JSON_DEPTH`], and no name twice in one object (RFC 8259 leaves open which of them counts,
/// so two programs may read two different things).
pub fn document(bytes: &[u8]) -> Result<Value, JsonError> {
    let reader = Reader { values_left: Cell::new(MAX_VALUES), refusal: RefCell::default() };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = (&reader).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    value.map_err(|syntax| match reader.refusal.take() {
        Some(refusal) => JsonError::Refused(refusal),
        None => JsonError::Syntax(syntax.to_string()),
    })
}

/// Builds a [`Value`] while counting its parts.
struct Reader {
    values_left: Cell<usize>,
    /// Why it stopped, if the JSON itself is not to blame.
    refusal: RefCell<Option<String>>,
}

impl Reader {
    fn refuse<E: de::Error>(&self, message: String) -> E {
        self.refusal.replace(Some(message));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for &Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        let Some(left) = self.values_left.get().checked_sub(1) else {
            return Err(self.refuse(format!(
                "the request body has more than {MAX_VALUES} values: send it in several requests"
            )));
        };
        self.values_left.set(left);
        json.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for &Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(self)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            if name.len() > MAX_NAME {
                return Err(self.refuse(format!(
                    "the name of a field in the request body is longer than {MAX_NAME} bytes"
                )));
            }
            if fields.contains_key(&name) {
                let name: String = name.chars().take(MAX_NAME_SHOWN).collect();
                return Err(self.refuse(format!(
                    "the request body has the field `{name}` twice in one object"
                )));
            }
            fields.insert(name, object.next_value_seed(self)?);
        }
        Ok(Value::Object(fields))
    }
}

/// A `T` out of a body, or everything that is wrong with it.
pub(super) fn parse<T: DeserializeOwned + JsonSchema + Check>(bytes: &[u8]) -> Result<T> {
    let value = document(bytes)?;
    if !value.is_object() {
        return Err(Error::Malformed("the request body must be a JSON object".into()));
    }
    checked(value)
}

/// PostgreSQL's text cannot hold a NUL, so no text of a request may.
fn find_nul(value: &Value, path: &mut Vec<Step>, issues: &mut Vec<Issue>) {
    if issues.len() >= MAX_ISSUES {
        return;
    }
    match value {
        Value::String(text) if text.contains('\0') => issues.push(Issue {
            path: path.clone(),
            code: "invalid_character",
            message: "must not contain the character U+0000".into(),
        }),
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                path.push(Step::Index(i));
                find_nul(element, path, issues);
                path.pop();
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                path.push(Step::from(name.clone()));
                if name.contains('\0') {
                    issues.push(Issue {
                        path: path.clone(),
                        code: "invalid_character",
                        message: "must not have the character U+0000 in its name".into(),
                    });
                }
                find_nul(field, path, issues);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Writes numbers without a fraction as integers; whether there were any that were not.
fn make_whole(value: &mut Value) -> bool {
    /// Above this, not every integer has a float of its own.
    const MOST: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= MOST);
            // what is a whole number of this size can be converted
            whole.is_some_and(|whole| {
                *value = Value::from(whole as i64);
                true
            })
        }
        Value::Array(elements) => all_whole(elements.iter_mut()),
        Value::Object(fields) => all_whole(fields.values_mut()),
        _ => false,
    }
}

/// Does so with every one of them.
fn all_whole<'a>(values: impl Iterator<Item = &'a mut Value>) -> bool {
    let mut changed = false;
    for value in values {
        changed |= make_whole(value);
    }
    changed
}

/// Takes out what `path` leads to, so that the rest can be read: the field that it is or is in,
/// whose path it returns. An element of a list of objects is emptied instead, for the others to
/// keep their places.
fn take_out<'a>(value: &mut Value, path: &'a [Step]) -> Option<&'a [Step]> {
    let last = path.iter().rposition(|step| matches!(step, Step::Field(_)))?;
    let mut place = value;
    for step in &path[..last] {
        place = match step {
            Step::Field(name) => place.get_mut(name.as_ref())?,
            Step::Index(i) => place.get_mut(*i)?,
        };
    }
    let (Step::Field(name), Some(fields)) = (&path[last], place.as_object_mut()) else {
        return None;
    };
    match (fields.get_mut(name.as_ref()), &path[last + 1..]) {
        (Some(Value::Array(list)), [Step::Index(i)]) if list.iter().any(Value::is_object) => {
            *list.get_mut(*i)? = Value::Object(Map::new());
            None
        }
        _ => {
            fields.remove(name.as_ref());
            path.get(..=last)
        }
    }
}

/// A `T` out of a JSON object, or everything that is wrong with it.
pub fn checked<T: DeserializeOwned + JsonSchema + Check>(value: Value) -> Result<T> {
    let mut value = value;
    // Explicit null for an optional field means absent (contract E2); for a required one it is
    // reported as missing.
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, field| !field.is_null());
    }
    let mut issues = Vec::new();
    find_nul(&value, &mut Vec::new(), &mut issues);
    let mut is_whole = false;
    let refusal = loop {
        match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(parsed) => {
                check_rest(&parsed, &[], &mut issues);
                return accepted(parsed, issues);
            }
            // `5.0` is a whole number in JSON, but no integer to serde
            Err(_) if !std::mem::replace(&mut is_whole, true) && make_whole(&mut value) => {}
            Err(refusal) => break refusal,
        }
    };
    let mut unreadable = inspect::<T>(&value);
    if unreadable.is_empty() {
        unreadable.push(located(&refusal, &[]));
    }
    // what can be read without the unreadable is checked all the same
    let taken: Vec<&[Step]> =
        unreadable.iter().filter_map(|issue| take_out(&mut value, &issue.path)).collect();
    issues.extend(unreadable.iter().cloned());
    let mut always: Option<Vec<Issue>> = None;
    for rest in completed::<T>(&value).iter().filter_map(|whole| T::deserialize(whole).ok()) {
        let mut all = issues.clone();
        check_rest(&rest, &[], &mut all);
        // what is wrong with a stand-in is nobody's fault
        let stands_in = |issue: &Issue| taken.iter().any(|field| issue.path.starts_with(field));
        all.retain(|issue| issues.contains(issue) || !stands_in(issue));
        match &mut always {
            None => always = Some(all),
            Some(always) => always.retain(|issue| all.contains(issue)),
        }
    }
    let mut issues = always.unwrap_or(issues);
    issues.truncate(MAX_ISSUES);
    Err(Error::Invalid(issues))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(text: &str) -> String {
        match document(text.as_bytes()) {
            Err(JsonError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_document_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,2.5,"x",true,null],"b":{"a":18446744073709551615}}"#;
        let value = document(text.as_bytes()).expect("JSON");
        assert_eq!(value, json!({ "a": [1, -2, 2.5, "x", true, null], "b": { "a": u64::MAX } }));
        for text in ["", "{", "[1,]", "{} {}", "nul", "1e999"] {
            assert!(matches!(document(text.as_bytes()), Err(JsonError::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn every_value_counts() {
        let list = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        assert!(document(list(MAX_VALUES - 1).as_bytes()).is_ok());
        assert!(refused(&list(MAX_VALUES)).contains("more than 100000 values"));
    }

    #[test]
    fn a_name_stands_once_in_an_object_and_is_not_too_long() {
        assert!(document(br#"[{"a":1},{"a":2,"b":{"a":3}}]"#).is_ok());
        assert!(refused(r#"{"x":[{"a":1,"b":2,"a":3}]}"#).contains("`a` twice"));
        let named = |length: usize| format!(r#"{{"{}":1}}"#, "n".repeat(length));
        assert!(document(named(MAX_NAME).as_bytes()).is_ok());
        assert!(refused(&named(MAX_NAME + 1)).contains("4096 bytes"));
        let twice = named(MAX_NAME).replace('}', ",") + &named(MAX_NAME)[1..];
        assert!(refused(&twice).len() < 2 * MAX_NAME_SHOWN);
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(document(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
        let deeper = document(nested(MAX_JSON_DEPTH + 1).as_bytes());
        assert!(matches!(deeper, Err(JsonError::Syntax(_))));
    }
}
