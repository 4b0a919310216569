//! Query parameters that may be repeated: `?model=a&model=b`.

use super::openapi::REPEATED;
use schemars::JsonSchema;
use schemars::schema::{InstanceType, Schema, SchemaObject};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// The values of a parameter that may be given up to `MOST` times, in their order. Its type must
/// list it in `Check::REPEATED`.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeated<const MOST: usize>(pub Vec<String>);

/// One pair for each repeated parameter, which holds all of its values: the decoder of queries
/// knows no lists.
pub(super) fn grouped<'a>(
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    repeated: &[&'static str],
) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let (lists, mut rest): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(name, _)| repeated.contains(&name.as_ref()));
    for name in repeated {
        let values: Vec<&str> =
            lists.iter().filter(|(other, _)| other == name).map(|(_, value)| &**value).collect();
        if !values.is_empty() {
            rest.push((Cow::Borrowed(*name), serde_json::Value::from(values).to_string().into()));
        }
    }
    rest
}

impl<'de, const MOST: usize> Deserialize<'de> for Repeated<MOST> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let grouped = String::deserialize(d)?;
        serde_json::from_str(&grouped).map(Repeated).map_err(serde::de::Error::custom)
    }
}

impl<const MOST: usize> JsonSchema for Repeated<MOST> {
    fn is_referenceable() -> bool {
        false
    }
    fn schema_name() -> String {
        format!("UpTo{MOST}")
    }
    fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> Schema {
        SchemaObject {
            instance_type: Some(InstanceType::String.into()),
            extensions: [(REPEATED.to_owned(), MOST.into())].into(),
            ..Default::default()
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_parameter_keeps_all_of_its_values() {
        let query = "label=env%3Aprod&page=2&label=a%22b%2Cc&label=%5B%5D";
        let pairs = form_urlencoded::parse(query.as_bytes()).collect();
        let grouped = grouped(pairs, &["label", "model"]);
        assert_eq!(grouped.len(), 2);
        assert_eq!(grouped[0], ("page".into(), "2".into()));
        let text = serde_json::Value::from(&*grouped[1].1);
        let several: Repeated<9> = serde_json::from_value(text).expect("a list");
        assert_eq!(several.0, ["env:prod", "a\"b,c", "[]"]);
    }
}
