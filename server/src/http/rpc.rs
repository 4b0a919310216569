//! What goes wrong, as JSON-RPC says it, with the HTTP status that mirrors it (contract B9).

use super::Dialect;
use super::envelope::{ErrorCode, FieldError, headers_of};
use super::failure::row;
use super::request_state;
use crate::error::Error;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

/// The codes that JSON-RPC 2.0 itself defines, and the one for everything that it leaves to servers.
pub mod code {
    /// The body is no JSON.
    pub const PARSE_ERROR: i32 = -32_700;
    /// The JSON is no request.
    pub const INVALID_REQUEST: i32 = -32_600;
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i32 = -32_601;
    /// The parameters are not acceptable.
    pub const INVALID_PARAMS: i32 = -32_602;
    /// A defect.
    pub const INTERNAL_ERROR: i32 = -32_603;
    /// Everything else; `data.code` tells what.
    pub const SERVER_ERROR: i32 = -32_000;
}

/// A failed call: the error object, and the HTTP status and headers that go with it.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// See [`code`].
    pub code: i32,
    /// For a person, and for a model: what happened and what to do.
    pub message: String,
    /// More: `code` (what a program branches on), and what belongs to it.
    pub data: Value,
    /// The HTTP status.
    #[serde(skip)]
    pub status: StatusCode,
    /// Headers of the answer.
    #[serde(skip)]
    pub headers: HeaderMap,
}

impl Fault {
    /// A failure that is none of [`Error`]'s.
    pub fn new(status: StatusCode, code: i32, message: impl Into<String>, data: Value) -> Self {
        Fault { status, code, message: message.into(), data, headers: HeaderMap::new() }
    }

    /// The JSON is no request that could be answered: 400.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        let data = json!({ "code": ErrorCode::ValidationError });
        Fault::new(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message, data)
    }

    /// Renders an error by the table in `failure`. Something that the caller may not see is answered as
    /// if it did not exist, and so is what a role forbids: 404.
    pub fn of(error: &Error) -> Self {
        let row = row(error);
        let mut data = json!({ "code": row.code });
        match error {
            Error::Invalid(issues) => {
                data["errors"] = json!(issues.iter().map(FieldError::from).collect::<Vec<_>>());
            }
            Error::RateLimited { limit, retry_after, .. } => {
                data["retryAfterMs"] = json!(u64::from(*retry_after) * 1_000);
                data["cap"] = json!(limit);
                data["kind"] = json!("minute");
            }
            Error::Crowded { retry_after, .. }
            | Error::Unavailable { retry_after, .. }
            | Error::Backlogged { retry_after, .. }
            | Error::Conflict { retry_after: Some(retry_after), .. } => {
                data["retryAfterMs"] = json!(u64::from(*retry_after) * 1_000);
            }
            Error::Internal(_) => data["requestId"] = json!(request_state::request_id()),
            _ => {}
        }
        let headers = headers_of(error);
        let status = row.status(Dialect::JsonRpc);
        Fault { status, code: row.rpc_code, message: error.to_string(), data, headers }
    }

    /// The whole message, as the answer to the request with this id; `null` when it has none that
    /// could be read.
    pub fn message(&self, id: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": id, "error": self })
    }
}
