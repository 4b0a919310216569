//! The canonical error envelope of the Save Session dialect (contract C1, D4): the same errors,
//! another rendering.

use super::Dialect;
use super::failure::row;
use crate::error::{Error, Issue, Step};
use schemars::JsonSchema;
use serde::Serialize;

/// What a program branches on. Newer servers may know more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CanonicalErrorType {
    /// The request cannot be read: no JSON object, a bad header, a broken path.
    InvalidRequest,
    /// The request can be read, and something in it is not acceptable; `errors` says what.
    ValidationError,
    /// The API key is missing or not valid.
    AuthenticationFailed,
    /// The caller may not do this.
    Forbidden,
    /// Absent, or invisible to the caller.
    NotFound,
    /// The route exists for other methods.
    MethodNotAllowed,
    /// Somebody else has it, or the state of things does not allow it.
    AlreadyExists,
    /// The body is too large.
    PayloadTooLarge,
    /// The body is not announced as JSON.
    UnsupportedMediaType,
    /// The client is older than this server accepts.
    UpgradeRequired,
    /// The key's limit is spent.
    RateLimited,
    /// Unexpected.
    InternalError,
    /// A server that this one asked failed.
    BadGateway,
    /// Overloaded, past the deadline, or no database.
    ServiceUnavailable,
    /// A server that this one asked did not answer in time.
    GatewayTimeout,
}

/// A step of `loc`: a name, or an index into an array.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LocStep {
    /// A name; the first step is `body`, `query` or `header`.
    Name(String),
    /// An index, from 0.
    Index(u32),
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CanonicalIssue {
    /// Where: `["body", "labels", "env", 0]`, `["query", "limit"]`.
    #[schemars(length(max = 17))]
    pub loc: Vec<LocStep>,
    /// For a person.
    pub msg: String,
    /// Stable and machine-readable, for example `too_long`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A failed answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CanonicalError {
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    pub code: u16,
    /// What happened, for a person.
    pub detail: String,
    /// With `validation_error`: everything that is wrong, not only the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<CanonicalIssue>>,
    /// What a program branches on.
    #[serde(rename = "type")]
    pub kind: CanonicalErrorType,
}

impl From<&Issue> for CanonicalIssue {
    fn from(issue: &Issue) -> Self {
        let name = |name: &str| LocStep::Name(name.to_owned());
        let step = |step: &Step| match step {
            Step::Field(field) => name(field),
            Step::Index(i) => LocStep::Index(u32::try_from(*i).unwrap_or(u32::MAX)),
        };
        let (place, rest) = match issue.path.as_slice() {
            [Step::Field(place), rest @ ..] if place == "query" && !rest.is_empty() => {
                ("query", rest)
            }
            [Step::Field(place), rest @ ..] if place == "headers" && !rest.is_empty() => {
                ("header", rest)
            }
            whole => ("body", whole),
        };
        CanonicalIssue {
            loc: std::iter::once(name(place)).chain(rest.iter().map(step)).collect(),
            msg: issue.message.clone(),
            kind: issue.code.to_owned(),
        }
    }
}

impl CanonicalError {
    /// What the caller is told of `error`.
    pub fn of(error: &Error) -> Self {
        let row = row(error);
        let (status, kind) = (row.status(Dialect::SaveSession), row.kind);
        let errors = match error {
            Error::Invalid(issues) if kind == CanonicalErrorType::ValidationError => {
                Some(issues.iter().map(CanonicalIssue::from).collect())
            }
            _ => None,
        };
        CanonicalError { code: status.as_u16(), detail: error.to_string(), errors, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(error: &Error) -> serde_json::Value {
        serde_json::to_value(CanonicalError::of(error)).expect("JSON")
    }

    #[test]
    fn an_upstream_that_fails_is_502_and_one_that_is_slow_504() {
        let upstream = |timed_out| Error::Upstream { message: "it broke".into(), timed_out };
        assert_eq!(
            told(&upstream(false)),
            json!({ "code": 502, "detail": "it broke", "type": "bad_gateway" })
        );
        assert_eq!(
            told(&upstream(true)),
            json!({ "code": 504, "detail": "it broke", "type": "gateway_timeout" })
        );
    }

    #[test]
    fn a_bad_header_is_a_bad_request_and_bad_content_names_its_place() {
        let header = Error::invalid(["headers", "Idempotency-Key"], "invalid", "must be short");
        assert_eq!(
            told(&header),
            json!({
                "code": 400, "detail": "headers.Idempotency-Key must be short",
                "type": "invalid_request",
            })
        );
        let issue = |path: Vec<Step>| Issue { path, code: "too_long", message: "m".into() };
        let both = Error::Invalid(vec![
            issue(vec!["labels".into(), "env".into(), 3.into()]),
            issue(vec!["query".into(), "limit".into()]),
            issue(vec!["query".into()]),
        ]);
        let told = told(&both);
        assert_eq!(told["code"], 422);
        assert_eq!(told["type"], "validation_error");
        assert_eq!(
            told["errors"],
            json!([
                { "loc": ["body", "labels", "env", 3], "msg": "m", "type": "too_long" },
                { "loc": ["query", "limit"], "msg": "m", "type": "too_long" },
                { "loc": ["body", "query"], "msg": "m", "type": "too_long" },
            ])
        );
    }
}
