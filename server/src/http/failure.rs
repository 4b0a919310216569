//! How failures are answered: one table, which the renderers of all dialects read, and the type in
//! which a handler returns one.

use super::canonical::{CanonicalError, CanonicalErrorType};
use super::envelope::{ErrorCode, ErrorEnvelope, render, status_of};
use super::rpc::code::{INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, SERVER_ERROR};
use super::{Dialect, request_state};
use crate::error::{Error, Issue, Step};
use dropshot::{ErrorStatusCode, HttpError, HttpResponseError};
use http::StatusCode;
use schemars::JsonSchema;
use schemars::schema::Schema;
use serde::{Serialize, Serializer};
use std::marker::PhantomData;

/// A row of the table: what the dialects call an error. The text is the error's own, in all of them.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Switchy's status.
    status: StatusCode,
    /// Switchy's code; JSON-RPC has it as `data.code`.
    pub code: ErrorCode,
    /// The Save Session dialect's status.
    canonical_status: StatusCode,
    /// The Save Session dialect's type.
    pub kind: CanonicalErrorType,
    /// The HTTP status of a JSON-RPC answer.
    rpc_status: StatusCode,
    /// JSON-RPC's code.
    pub rpc_code: i32,
}

impl Row {
    /// The HTTP status in a dialect.
    pub fn status(&self, dialect: Dialect) -> StatusCode {
        match dialect {
            Dialect::Switchy => self.status,
            Dialect::SaveSession => self.canonical_status,
            Dialect::JsonRpc => self.rpc_status,
        }
    }
}

/// The row of an error.
pub(super) fn row(error: &Error) -> Row {
    use CanonicalErrorType as K;
    use ErrorCode as C;
    use StatusCode as S;
    let same = |status, code, kind, rpc_code| Row {
        status,
        code,
        canonical_status: status,
        kind,
        rpc_status: status,
        rpc_code,
    };
    match error {
        Error::Invalid(issues) if only_headers(issues) => {
            same(S::BAD_REQUEST, C::ValidationError, K::InvalidRequest, INVALID_PARAMS)
        }
        Error::Invalid(_) => Row {
            canonical_status: S::UNPROCESSABLE_ENTITY,
            ..same(S::BAD_REQUEST, C::ValidationError, K::ValidationError, INVALID_PARAMS)
        },
        Error::Malformed(_) => {
            same(S::BAD_REQUEST, C::ValidationError, K::InvalidRequest, INVALID_REQUEST)
        }
        // only the Save Session dialect asks for a client's version
        Error::UpgradeRequired { .. } => Row {
            canonical_status: S::UPGRADE_REQUIRED,
            ..same(S::BAD_REQUEST, C::ValidationError, K::UpgradeRequired, INVALID_REQUEST)
        },
        Error::TooLarge { .. } => {
            same(S::PAYLOAD_TOO_LARGE, C::ValidationError, K::PayloadTooLarge, INVALID_REQUEST)
        }
        Error::UnsupportedMediaType => same(
            S::UNSUPPORTED_MEDIA_TYPE,
            C::ValidationError,
            K::UnsupportedMediaType,
            INVALID_REQUEST,
        ),
        Error::Unauthenticated(_) => {
            same(S::UNAUTHORIZED, C::AuthError, K::AuthenticationFailed, SERVER_ERROR)
        }
        // over MCP, whatever somebody may not see is told as if it did not exist
        Error::Forbidden(_) => Row {
            rpc_status: S::NOT_FOUND,
            ..same(S::FORBIDDEN, C::Forbidden, K::Forbidden, SERVER_ERROR)
        },
        Error::NotFound(_) => same(S::NOT_FOUND, C::NotFound, K::NotFound, SERVER_ERROR),
        Error::MethodNotAllowed { .. } => {
            same(S::METHOD_NOT_ALLOWED, C::NotFound, K::MethodNotAllowed, SERVER_ERROR)
        }
        Error::Conflict { .. } => same(S::CONFLICT, C::Conflict, K::AlreadyExists, SERVER_ERROR),
        // in the Save Session dialect a 409 says that the session exists, which is good news there
        Error::QuotaReached(_) => Row {
            canonical_status: S::TOO_MANY_REQUESTS,
            ..same(S::CONFLICT, C::Conflict, K::RateLimited, SERVER_ERROR)
        },
        Error::RateLimited { .. } | Error::Crowded { .. } | Error::Backlogged { .. } => {
            same(S::TOO_MANY_REQUESTS, C::RateLimit, K::RateLimited, SERVER_ERROR)
        }
        Error::Unavailable { .. } => {
            same(S::SERVICE_UNAVAILABLE, C::InternalError, K::ServiceUnavailable, SERVER_ERROR)
        }
        Error::Upstream { timed_out: false, .. } => Row {
            canonical_status: S::BAD_GATEWAY,
            ..same(S::INTERNAL_SERVER_ERROR, C::InternalError, K::BadGateway, INTERNAL_ERROR)
        },
        Error::Upstream { timed_out: true, .. } => Row {
            canonical_status: S::GATEWAY_TIMEOUT,
            ..same(S::INTERNAL_SERVER_ERROR, C::InternalError, K::GatewayTimeout, INTERNAL_ERROR)
        },
        Error::Internal(_) => {
            same(S::INTERNAL_SERVER_ERROR, C::InternalError, K::InternalError, INTERNAL_ERROR)
        }
    }
}

/// Whether everything that is wrong is wrong with a header: such a request is a bad one rather than
/// one with bad content.
fn only_headers(issues: &[Issue]) -> bool {
    issues.iter().all(|issue| issue.path.first() == Some(&Step::from("headers")))
}

/// A domain error on its way out of a handler, documented as `B`. The gateway sends it.
#[derive(Debug)]
pub struct HandlerError<B> {
    /// The error.
    pub error: Error,
    documented: PhantomData<fn() -> B>,
}

/// The failure of a handler.
pub type Failure = HandlerError<ErrorEnvelope>;

/// The failure of a handler of the Save Session dialect.
pub type CanonicalFailure = HandlerError<CanonicalError>;

impl<B> From<Error> for HandlerError<B> {
    fn from(error: Error) -> Self {
        HandlerError { error, documented: PhantomData }
    }
}

/// A failure of Dropshot's own extractors, with our status and code.
impl<B> From<HttpError> for HandlerError<B> {
    fn from(error: HttpError) -> Self {
        HandlerError::from(match error.status_code.as_u16() {
            404 => Error::NotFound(error.external_message.into()),
            400..=499 => Error::Malformed(error.external_message.into()),
            _ => Error::internal(error.internal_message),
        })
    }
}

impl<B> std::fmt::Display for HandlerError<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error.chain())
    }
}

impl<B> Serialize for HandlerError<B> {
    /// Dropshot calls this once, to render the answer. It wraps what it gets in a type that cannot
    /// be taken apart from outside, and has no place for headers: so the gateway gets the whole
    /// answer on the side.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        request_state::answer_with(render(&self.error), self.error.chain());
        ErrorEnvelope::of(&self.error).serialize(s)
    }
}

impl<B: JsonSchema> JsonSchema for HandlerError<B> {
    fn schema_name() -> String {
        B::schema_name()
    }
    fn json_schema(generator: &mut schemars::r#gen::SchemaGenerator) -> Schema {
        B::json_schema(generator)
    }
}

impl<B: JsonSchema + 'static> HttpResponseError for HandlerError<B> {
    fn status_code(&self) -> ErrorStatusCode {
        ErrorStatusCode::from_status(status_of(&self.error))
            .unwrap_or(ErrorStatusCode::INTERNAL_SERVER_ERROR)
    }
}
