//! The envelope around every answer.

use serde::Deserialize;

use crate::{ErrorCode, FieldError, PathStep};

/// A successful answer. The rest of the envelope says nothing that the status has not said.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope<T> {
    /// What was asked for.
    pub data: T,
}

/// A failed answer, in either dialect.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Failed")]
pub struct ErrorEnvelope {
    pub error: ErrorBody,
    pub metadata: ErrorMetadata,
}

/// A failed answer as it comes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Failed {
    Switchy {
        error: ErrorBody,
        #[serde(default)]
        metadata: ErrorMetadata,
    },
    SaveSession {
        detail: String,
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        errors: Vec<Located>,
    },
}

/// One thing that is wrong, as the Save Session dialect says it.
#[derive(Deserialize)]
struct Located {
    #[serde(default)]
    loc: Vec<PathStep>,
    msg: String,
    #[serde(rename = "type", default)]
    kind: String,
}

impl From<Located> for FieldError {
    fn from(issue: Located) -> Self {
        let mut path = issue.loc;
        // as in the other dialect: paths are in the body, unless they say otherwise
        match path.first_mut() {
            Some(PathStep::Field(place)) if place == "body" => {
                path.remove(0);
            }
            Some(PathStep::Field(place)) if place == "header" => *place = "headers".into(),
            _ => {}
        }
        FieldError { path, code: issue.kind, message: issue.msg }
    }
}

/// The code that means the same.
fn code_of(kind: &str) -> ErrorCode {
    match kind {
        "invalid_request" | "validation_error" | "payload_too_large" | "unsupported_media_type" => {
            ErrorCode::Validation
        }
        "authentication_failed" => ErrorCode::Auth,
        "forbidden" => ErrorCode::Forbidden,
        "not_found" | "method_not_allowed" => ErrorCode::NotFound,
        "already_exists" => ErrorCode::Conflict,
        "upgrade_required" => ErrorCode::UpgradeRequired,
        "rate_limited" => ErrorCode::RateLimit,
        "internal_error" | "service_unavailable" | "bad_gateway" | "gateway_timeout" => {
            ErrorCode::Internal
        }
        other => ErrorCode::Other(other.to_uppercase()),
    }
}

impl From<Failed> for ErrorEnvelope {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Switchy { error, metadata } => ErrorEnvelope { error, metadata },
            Failed::SaveSession { detail, kind, errors } => {
                let errors = errors.into_iter().map(FieldError::from).collect();
                let details = ErrorDetails { errors: Some(errors), retry_after: None };
                let (code, details) = (code_of(&kind), Some(details));
                ErrorEnvelope {
                    error: ErrorBody { code, message: detail, details },
                    metadata: ErrorMetadata::default(),
                }
            }
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug, Deserialize)]
pub struct ErrorBody {
    pub code: ErrorCode,
    pub message: String,
    #[serde(default)]
    pub details: Option<ErrorDetails>,
}

/// More about a failure, by its code.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetails {
    #[serde(default)]
    pub errors: Option<Vec<FieldError>>,
    /// Seconds.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// About the answer itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorMetadata {
    #[serde(default)]
    pub request_id: Option<String>,
}
