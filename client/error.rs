//! The one error of the client.

use std::{fmt, time::Duration};

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::enums::open_enum;

open_enum! {
    /// What a program branches on: the server's closed set, and what happens on the way to it.
    ErrorCode {
        /// The body, a parameter or a header is not acceptable: [`Error::field_errors`] says what.
        Validation = "VALIDATION_ERROR",
        /// The key is missing or not valid.
        Auth = "AUTH_ERROR",
        /// The caller may not do this.
        Forbidden = "FORBIDDEN",
        /// Absent, or invisible to the caller.
        NotFound = "NOT_FOUND",
        /// A duplicate, a race, or a transition that the state does not allow.
        Conflict = "CONFLICT",
        /// The key's limit is spent: [`Error::retry_after`] says for how long.
        RateLimit = "RATE_LIMIT",
        /// Unexpected; with status 503: overloaded, shutting down, or past the deadline.
        Internal = "INTERNAL_ERROR",
        /// The server serves newer clients only, and says which: [`Error::message`].
        UpgradeRequired = "UPGRADE_REQUIRED",
        /// Made by the client: the answer is not one of this API. Is the base URL right?
        MalformedResponse = "MALFORMED_RESPONSE",
        /// Made by the client: no answer within the timeout. Whether the request was carried out
        /// is not known; a repetition with the same idempotency key is safe.
        Timeout = "TIMEOUT",
        /// Made by the client: no connection, or it broke. As for `TIMEOUT`, a repetition with the
        /// same idempotency key is safe.
        Transport = "TRANSPORT_ERROR",
        /// Made by the client: the request could not be built, and nothing was sent.
        InvalidRequest = "INVALID_REQUEST",
    }
}

/// Why a call failed. Its display is a sentence, and never contains the API key.
pub struct Error(Box<Parts>);

/// What an [`Error`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub code: ErrorCode,
    pub status: Option<StatusCode>,
    pub message: String,
    pub request_id: Option<String>,
    pub field_errors: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Parts {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            status: None,
            message: message.into(),
            request_id: None,
            field_errors: Vec::new(),
            retry_after: None,
            source: None,
        }
    }
}

impl From<Parts> for Error {
    fn from(parts: Parts) -> Self {
        Self(Box::new(parts))
    }
}

impl Error {
    /// What a program branches on.
    pub fn code(&self) -> &ErrorCode {
        &self.0.code
    }

    /// The status of the answer; `None` when there was none.
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// What happened, for a person.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Identifies the request in the server's log: quote it when you report a problem.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// With `VALIDATION_ERROR`: everything that is wrong, not only the first.
    pub fn field_errors(&self) -> &[FieldError] {
        &self.0.field_errors
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("status", &self.0.status)
            .field("message", &self.0.message)
            .field("request_id", &self.0.request_id)
            .field("field_errors", &self.0.field_errors)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// One thing that is wrong with a request, and where. It displays as `tags[3]: …`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where in the body; a query parameter's begins with `query`.
    #[serde(default)]
    pub path: Vec<PathStep>,
    /// Stable and machine-readable, for example `too_long`.
    #[serde(default)]
    pub code: String,
    /// For a person.
    pub message: String,
}

/// A step of [`FieldError::path`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathStep {
    /// An index into an array, from 0.
    Index(u64),
    /// A field's name.
    Field(String),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.path.iter().enumerate() {
            match step {
                PathStep::Index(index) => write!(f, "[{index}]")?,
                PathStep::Field(name) if place == 0 => f.write_str(name)?,
                PathStep::Field(name) => write!(f, ".{name}")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}
