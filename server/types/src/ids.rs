//! Ids are types: an [`OrgId`] cannot be passed where a [`SpaceId`] is wanted.
//!
//! All of them are CUIDs: `c` and 24 of `[a-z0-9]`.

use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{Output, ToSql};
use diesel::sql_types::Text;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Characters of a CUID, the leading `c` included.
pub const CUID_LENGTH: usize = 25;
/// What a CUID looks like.
pub const CUID_PATTERN: &str = "^c[a-z0-9]{24}$";

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const TIME_DIGITS: usize = 8;

/// The text is not a CUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an id: `c` followed by 24 lowercase letters and digits")]
pub struct MalformedId;

/// A new CUID: milliseconds in base 36, then 16 random characters (82 bits).
fn generate() -> String {
    let mut id = [b'0'; CUID_LENGTH];
    id[0] = b'c';
    let mut ms = chrono::Utc::now().timestamp_millis().unsigned_abs();
    for place in id[1..=TIME_DIGITS].iter_mut().rev() {
        *place = ALPHABET[(ms % 36) as usize];
        ms /= 36;
    }
    let mut rng = rand::rng();
    for place in &mut id[1 + TIME_DIGITS..] {
        *place = ALPHABET[rng.random_range(0..36)];
    }
    id.iter().map(|b| char::from(*b)).collect()
}

fn is_well_formed(text: &str) -> bool {
    text.len() == CUID_LENGTH
        && text.starts_with('c')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, AsExpression,
            FromSqlRow,
        )]
        #[diesel(sql_type = Text)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A new one that no other has.
            pub fn generate() -> Self {
                Self(generate())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;
            fn from_str(text: &str) -> Result<Self, MalformedId> {
                if is_well_formed(text) { Ok(Self(text.to_owned())) } else { Err(MalformedId) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn is_referenceable() -> bool {
                false
            }
            fn schema_name() -> String {
                stringify!($name).to_owned()
            }
            fn json_schema(
                generator: &mut schemars::r#gen::SchemaGenerator,
            ) -> schemars::schema::Schema {
                cuid_schema(generator)
            }
        }

        impl ToSql<Text, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
                <String as ToSql<Text, Pg>>::to_sql(&self.0, out)
            }
        }

        impl FromSql<Text, Pg> for $name {
            fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
                <String as FromSql<Text, Pg>>::from_sql(value).map(Self)
            }
        }
    };
}

/// How the OpenAPI document describes an id.
fn cuid_schema(_: &mut schemars::r#gen::SchemaGenerator) -> schemars::schema::Schema {
    schemars::schema::SchemaObject {
        instance_type: Some(schemars::schema::InstanceType::String.into()),
        string: Some(Box::new(schemars::schema::StringValidation {
            pattern: Some(CUID_PATTERN.into()),
            ..Default::default()
        })),
        extensions: [("example".to_owned(), "cmo5w1c2t8zq4k7n3x9b6d0fh".into())].into(),
        ..Default::default()
    }
    .into()
}

id!(
    /// An organization: the tenant.
    OrgId
);
id!(
    /// A person, who may be a member of several organizations.
    UserId
);
id!(
    /// A Space of one organization (the URL says `projects`).
    SpaceId
);
id!(
    /// A conversation session of one Space.
    SessionId
);
id!(
    /// A note of the team's memory.
    MemoryId
);
id!(
    /// An API key's row; never the key itself.
    KeyId
);
id!(
    /// A message of a session.
    MessageId
);
id!(
    /// An invitation into an organization; never its token.
    InvitationId
);
id!(
    /// An MCP server that an organization has registered.
    McpServerId
);
id!(
    /// A secret in the vault of an organization; never the secret itself.
    SecretId
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_generated_id_is_a_cuid_and_no_two_are_alike() {
        let ids: std::collections::BTreeSet<_> =
            (0..10_000).map(|_| SpaceId::generate().to_string()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| is_well_formed(id)));
    }

    proptest! {
        #[test]
        fn only_cuids_parse(text in ".{0,40}") {
            let matches = text.len() == 25
                && text.chars().enumerate().all(|(i, c)| match i {
                    0 => c == 'c',
                    _ => c.is_ascii_lowercase() || c.is_ascii_digit(),
                });
            prop_assert_eq!(text.parse::<OrgId>().is_ok(), matches);
        }
    }
}
