//! The one envelope around every answer (contract A3, A4, E1, E2), and the rendering of every
//! failure in the dialect of its request.

use super::canonical::CanonicalError;
use super::failure::row;
use super::rpc::Fault;
use super::{Dialect, request_state};
use crate::error::{Error, Issue, Result, Step};
use chrono::{DateTime, SecondsFormat, Utc};
use dropshot::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use schemars::schema::{InstanceType, Schema, SchemaObject};
use serde::{Deserialize, Serialize, Serializer};

/// A moment: ISO-8601, UTC, milliseconds, `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Timestamp(at)
    }
}

impl JsonSchema for Timestamp {
    fn is_referenceable() -> bool {
        false
    }
    fn schema_name() -> String {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> Schema {
        SchemaObject {
            instance_type: Some(InstanceType::String.into()),
            format: Some("date-time".into()),
            extensions: [("example".to_owned(), "2026-04-19T12:34:56.789Z".into())].into(),
            ..Default::default()
        }
        .into()
    }
}

/// A boolean that the type fixes, documented as such.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always<const B: bool>;

impl<const B: bool> Serialize for Always<B> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bool(B)
    }
}

impl<const B: bool> JsonSchema for Always<B> {
    fn is_referenceable() -> bool {
        false
    }
    fn schema_name() -> String {
        if B { "True".into() } else { "False".into() }
    }
    fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> Schema {
        SchemaObject {
            instance_type: Some(InstanceType::Boolean.into()),
            enum_values: Some(vec![B.into()]),
            ..Default::default()
        }
        .into()
    }
}

/// About the answer itself.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// When the answer was made.
    pub timestamp: Timestamp,
    /// Identifies this request in the server's log; quote it when you report a problem.
    #[schemars(example = "example_request_id")]
    pub request_id: String,
}

fn example_request_id() -> &'static str {
    "5b0f1f0a-9f5e-4f0e-8a57-0d3c8f5c2b11"
}

impl Metadata {
    /// For the request that is running now.
    pub fn now() -> Self {
        Metadata { timestamp: Utc::now().into(), request_id: request_state::request_id() }
    }
}

/// A successful answer: `data` holds the resource under a named key.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Envelope")]
pub struct Envelope<T> {
    /// Always `true`.
    pub success: Always<true>,
    /// What was asked for.
    pub data: T,
    /// About the answer itself.
    pub metadata: Metadata,
}

impl<T> Envelope<T> {
    /// Around `data`.
    pub fn new(data: T) -> Self {
        Envelope { success: Always, data, metadata: Metadata::now() }
    }
}

/// What a program branches on; the set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The body, a parameter or a header is not acceptable.
    ValidationError,
    /// The key is missing or not valid.
    AuthError,
    /// The caller may not do this.
    Forbidden,
    /// Absent, or invisible to the caller.
    NotFound,
    /// A duplicate, a race, or a transition that the state does not allow.
    Conflict,
    /// The key's limit is spent.
    RateLimit,
    /// Unexpected; also: overloaded, or past the deadline.
    InternalError,
}

/// A step of `path`: a field's name, or an index into an array.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PathStep {
    /// A field's name.
    Field(String),
    /// An index, from 0.
    Index(u32),
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FieldError {
    /// Where in the body; a query parameter's begins with `query`.
    #[schemars(length(max = 16))]
    pub path: Vec<PathStep>,
    /// Stable and machine-readable, for example `too_long`.
    pub code: String,
    /// For a person.
    pub message: String,
}

/// More about a failure, by its code.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetails {
    /// With `VALIDATION_ERROR`: everything that is wrong, not only the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldError>>,
    /// With `RATE_LIMIT`: requests a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// With `RATE_LIMIT`: when the next request will be let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<Timestamp>,
    /// With `RATE_LIMIT`: the same in seconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// What a program branches on.
    pub code: ErrorCode,
    /// For a person: what happened and what to do.
    pub message: String,
    /// More, by the code.
    pub details: ErrorDetails,
}

/// A failed answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ErrorEnvelope {
    /// Always `false`.
    pub success: Always<false>,
    /// What went wrong.
    pub error: ErrorBody,
    /// About the answer itself.
    pub metadata: Metadata,
}

impl From<&Issue> for FieldError {
    fn from(issue: &Issue) -> Self {
        let step = |step: &Step| match step {
            Step::Field(name) => PathStep::Field(name.to_string()),
            Step::Index(i) => PathStep::Index(u32::try_from(*i).unwrap_or(u32::MAX)),
        };
        FieldError {
            path: issue.path.iter().map(step).collect(),
            code: issue.code.to_owned(),
            message: issue.message.clone(),
        }
    }
}

impl ErrorEnvelope {
    /// What the caller is told of `error`.
    pub fn of(error: &Error) -> Self {
        let details = match error {
            Error::Invalid(issues) => ErrorDetails {
                errors: Some(issues.iter().map(FieldError::from).collect()),
                ..Default::default()
            },
            Error::RateLimited { limit, reset_at, retry_after } => ErrorDetails {
                limit: Some(*limit),
                reset_at: Some((*reset_at).into()),
                retry_after: Some(*retry_after),
                ..Default::default()
            },
            Error::Crowded { retry_after, .. } | Error::Backlogged { retry_after, .. } => {
                ErrorDetails { retry_after: Some(*retry_after), ..Default::default() }
            }
            _ => ErrorDetails::default(),
        };
        ErrorEnvelope {
            success: Always,
            error: ErrorBody { code: row(error).code, message: error.to_string(), details },
            metadata: Metadata::now(),
        }
    }
}

/// The status that `error` is answered with, in the running request's dialect.
pub fn status_of(error: &Error) -> StatusCode {
    row(error).status(request_state::dialect())
}

/// The body that `error` is answered with, in the running request's dialect.
pub fn body_of(error: &Error) -> Result<String> {
    match request_state::dialect() {
        Dialect::Switchy => serde_json::to_string(&ErrorEnvelope::of(error)),
        Dialect::SaveSession => serde_json::to_string(&CanonicalError::of(error)),
        Dialect::JsonRpc => Ok(Fault::of(error).message(&request_state::message_id()).to_string()),
    }
    .map_err(Error::internal)
}

/// What a client is called where it is told to upgrade.
const CLIENT_PRODUCT: &str = "switchy-client";

/// Headers that belong to `error`.
pub(super) fn headers_of(error: &Error) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match error {
        Error::RateLimited { retry_after, .. }
        | Error::Backlogged { retry_after, .. }
        | Error::Crowded { retry_after, .. }
        | Error::Unavailable { retry_after, .. }
        | Error::Conflict { retry_after: Some(retry_after), .. } => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after));
        }
        Error::MethodNotAllowed { allow, .. } => {
            if let Ok(allow) = HeaderValue::from_str(allow) {
                headers.insert(header::ALLOW, allow);
            }
        }
        Error::UpgradeRequired { minimum } => {
            // RFC 9110, 7.8: what to upgrade to, and that this hop alone is meant
            if let Ok(wanted) = HeaderValue::from_str(&format!("{CLIENT_PRODUCT}/{minimum}")) {
                headers.insert(header::UPGRADE, wanted);
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
        }
        Error::Unauthenticated(_) => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    headers
}

/// `X-Content-Type-Options`, on every answer: what others wrote is never taken for a page or a script.
pub(super) const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A complete answer: status, headers, envelope.
pub fn render(error: &Error) -> Response<Body> {
    let body = body_of(error).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status_of(error);
    *response.headers_mut() = headers_of(error);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    // also of what passes no gateway
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    response
}
