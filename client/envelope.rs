//! The envelope around every answer.

use serde::Deserialize;

use crate::{ErrorCode, FieldError};

/// A successful answer. The rest of the envelope says nothing that the status has not said.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope<T> {
    /// What was asked for.
    pub data: T,
}

/// A failed answer.
#[derive(Clone, Debug, Deserialize)]
pub struct ErrorEnvelope {
    pub error: ErrorBody,
    #[serde(default)]
    pub metadata: ErrorMetadata,
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
