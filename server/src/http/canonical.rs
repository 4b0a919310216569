//! The canonical error envelope of the Save Session dialect (contract C1, D4): the same errors,
//! another rendering.

use super::envelope::render;
use super::scope;
use crate::error::{Error, Issue, Step};
use dropshot::{ErrorStatusCode, HttpError, HttpResponseError};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

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

/// Whether everything that is wrong is wrong with a header: such a request is a bad one rather than
/// one with bad content.
fn only_headers(issues: &[Issue]) -> bool {
    issues.iter().all(|issue| issue.path.first() == Some(&Step::from("headers")))
}

/// Status and type of an error (contract D4).
fn classify(error: &Error) -> (StatusCode, CanonicalErrorType) {
    use CanonicalErrorType as Kind;
    match error {
        Error::Malformed(_) => (StatusCode::BAD_REQUEST, Kind::InvalidRequest),
        Error::Invalid(issues) if only_headers(issues) => {
            (StatusCode::BAD_REQUEST, Kind::InvalidRequest)
        }
        Error::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, Kind::ValidationError),
        Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Kind::PayloadTooLarge),
        Error::UnsupportedMediaType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::UnsupportedMediaType)
        }
        Error::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, Kind::AuthenticationFailed),
        Error::Forbidden(_) => (StatusCode::FORBIDDEN, Kind::Forbidden),
        Error::NotFound(_) => (StatusCode::NOT_FOUND, Kind::NotFound),
        Error::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, Kind::MethodNotAllowed),
        Error::Conflict { .. } => (StatusCode::CONFLICT, Kind::AlreadyExists),
        Error::UpgradeRequired { .. } => (StatusCode::UPGRADE_REQUIRED, Kind::UpgradeRequired),
        // in this dialect a 409 says that the session exists, which a client takes for good news
        Error::RateLimited { .. }
        | Error::Crowded { .. }
        | Error::Backlogged { .. }
        | Error::QuotaReached(_) => (StatusCode::TOO_MANY_REQUESTS, Kind::RateLimited),
        Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, Kind::ServiceUnavailable),
        Error::Upstream { timed_out: false, .. } => (StatusCode::BAD_GATEWAY, Kind::BadGateway),
        Error::Upstream { timed_out: true, .. } => {
            (StatusCode::GATEWAY_TIMEOUT, Kind::GatewayTimeout)
        }
        Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, Kind::InternalError),
    }
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
        let (status, kind) = classify(error);
        let errors = match error {
            Error::Invalid(issues) if kind == CanonicalErrorType::ValidationError => {
                Some(issues.iter().map(CanonicalIssue::from).collect())
            }
            _ => None,
        };
        CanonicalError { code: status.as_u16(), detail: error.to_string(), errors, kind }
    }
}

/// The status that `error` is answered with in this dialect.
pub fn status_of(error: &Error) -> StatusCode {
    classify(error).0
}

/// A domain error on its way out of a handler of this dialect. The gateway renders it.
#[derive(Debug)]
pub struct Refusal(pub Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal(error)
    }
}

impl From<super::Failure> for Refusal {
    fn from(failure: super::Failure) -> Self {
        Refusal(failure.0)
    }
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        super::Failure::from(error).into()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.chain())
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        CanonicalError::of(&self.0).serialize(s)
    }
}

impl JsonSchema for Refusal {
    fn schema_name() -> String {
        CanonicalError::schema_name()
    }
    fn json_schema(generator: &mut schemars::r#gen::SchemaGenerator) -> schemars::schema::Schema {
        CanonicalError::json_schema(generator)
    }
}

impl HttpResponseError for Refusal {
    fn status_code(&self) -> ErrorStatusCode {
        // on the side, as `Failure` does, and for the same reasons
        scope::answer_with(render(&self.0), self.0.chain());
        ErrorStatusCode::from_status(status_of(&self.0))
            .unwrap_or(ErrorStatusCode::INTERNAL_SERVER_ERROR)
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
