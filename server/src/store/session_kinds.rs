//! What sessions have in both dialects: who sees them, where they come from, and their labels.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{Jsonb, Text};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// From a column of JSON.
pub(super) fn from_json<T: DeserializeOwned>(value: PgValue<'_>) -> deserialize::Result<T> {
    let json = <serde_json::Value as FromSql<Jsonb, Pg>>::from_sql(value)?;
    Ok(serde_json::from_value(json)?)
}

macro_rules! kind {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, AsExpression,
            FromSqlRow,
        )]
        #[diesel(sql_type = Text)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As the contract and the database spell it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The one that is spelled so.
            pub fn named(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
            }
        }

        impl ToSql<Text, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                <str as ToSql<Text, Pg>>::to_sql(self.as_str(), out)
            }
        }

        impl FromSql<Text, Pg> for $name {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                let text = <String as FromSql<Text, Pg>>::from_sql(value)?;
                Self::named(&text).ok_or_else(|| format!("unknown: {text}").into())
            }
        }
    };
}

kind!(
    /// Who sees a session.
    SessionVisibility {
        /// Its creator alone; for everybody else it does not exist.
        Private = "private",
        /// The members of the Space.
        Workspace = "workspace",
    }
);

kind!(
    /// What kind of work a session comes from.
    SessionOrigin {
        /// A person, with or without an agent.
        User = "user",
        /// An evaluation run; lists leave it out unless asked.
        Eval = "eval",
        /// A worker that runs by itself.
        Worker = "worker",
    }
);

kind!(
    /// Who speaks in a transcript.
    TranscriptRole {
        /// A person.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// Whoever instructs the model.
        System = "system",
        /// What a call of a tool came to.
        Tool = "tool",
    }
);

/// Values by key; a key has one or more.
#[derive(
    Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, AsExpression, FromSqlRow,
)]
#[diesel(sql_type = Jsonb)]
#[serde(transparent)]
pub struct Labels(pub BTreeMap<String, Vec<String>>);

impl ToSql<Jsonb, Pg> for Labels {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let json = serde_json::json!(self.0);
        <serde_json::Value as ToSql<Jsonb, Pg>>::to_sql(&json, &mut out.reborrow())
    }
}

impl FromSql<Jsonb, Pg> for Labels {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        from_json(value).map(Labels)
    }
}
