//! Why an MCP server could not be used.

use crate::mcp::guard::UrlError;
use crate::store::mcp_servers::McpHealth;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

/// Why an MCP server could not be used, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum McpFailureCode {
    /// Its name has no address.
    DnsFailed,
    /// Its URL, or what the name resolves to, is not allowed.
    AddressForbidden,
    /// Nobody listens, or the connection broke.
    ConnectFailed,
    /// No TLS, or a certificate that is not valid for it.
    TlsFailed,
    /// It did not answer in time.
    Timeout,
    /// It does not accept the secret, or wants one: 401 or 403.
    Unauthorized,
    /// It answered with another failure status.
    HttpStatus,
    /// It answered with a redirect, and those are never followed.
    RedirectRefused,
    /// The request would have been larger than is sent.
    RequestTooLarge,
    /// Its answer is larger than is read.
    ResponseTooLarge,
    /// It answered something that is not MCP.
    ProtocolError,
    /// The stored secret cannot be read: the server's key is another one now.
    SecretUnreadable,
}

/// Why an MCP server could not be used. Nothing that the other side said is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    /// For programs.
    pub code: McpFailureCode,
    /// For people: a sentence.
    pub message: String,
}

impl UpstreamError {
    fn new(code: McpFailureCode, message: impl Into<String>) -> Self {
        UpstreamError { code, message: message.into() }
    }

    pub(super) fn connect() -> Self {
        Self::new(McpFailureCode::ConnectFailed, "no connection could be made, or it broke")
    }

    pub(super) fn tls() -> Self {
        Self::new(
            McpFailureCode::TlsFailed,
            "no secure connection could be made: the certificate is not valid for this host, or \
             it is signed by nobody known",
        )
    }

    /// The time was up.
    pub fn timed_out(limit: std::time::Duration) -> Self {
        let seconds = limit.as_secs_f32();
        Self::new(McpFailureCode::Timeout, format!("there was no answer within {seconds} s"))
    }

    /// Of an answer whose status is no success.
    pub(super) fn status(status: StatusCode) -> Self {
        let number = status.as_u16();
        match number {
            401 => Self::new(
                McpFailureCode::Unauthorized,
                "it answered 401: the secret is missing, or not accepted",
            ),
            403 => Self::new(
                McpFailureCode::Unauthorized,
                "it answered 403: the secret does not allow this",
            ),
            300..=399 => Self::new(
                McpFailureCode::RedirectRefused,
                format!("it answered {number}, a redirect, and those are not followed"),
            ),
            _ => Self::new(McpFailureCode::HttpStatus, format!("it answered {number}")),
        }
    }

    pub(super) fn request_too_large(limit: usize) -> Self {
        Self::new(
            McpFailureCode::RequestTooLarge,
            format!("the request would be larger than {limit} bytes"),
        )
    }

    pub(super) fn response_too_large(limit: usize) -> Self {
        Self::new(
            McpFailureCode::ResponseTooLarge,
            format!("its answer is larger than {limit} bytes"),
        )
    }

    pub(super) fn protocol(how: &str) -> Self {
        Self::new(McpFailureCode::ProtocolError, format!("it does not speak MCP: {how}"))
    }

    /// The vault did not give the secret out.
    pub fn secret_unreadable() -> Self {
        Self::new(
            McpFailureCode::SecretUnreadable,
            "its stored secret cannot be read any more: remove the integration and register it \
             again",
        )
    }

    /// What the failure tells of the server's health: whether there was an answer at all.
    pub fn health(&self) -> McpHealth {
        match self.code {
            McpFailureCode::DnsFailed
            | McpFailureCode::AddressForbidden
            | McpFailureCode::ConnectFailed
            | McpFailureCode::TlsFailed
            | McpFailureCode::Timeout
            | McpFailureCode::SecretUnreadable => McpHealth::Unreachable,
            McpFailureCode::Unauthorized
            | McpFailureCode::HttpStatus
            | McpFailureCode::RedirectRefused
            | McpFailureCode::RequestTooLarge
            | McpFailureCode::ResponseTooLarge
            | McpFailureCode::ProtocolError => McpHealth::Degraded,
        }
    }
}

impl From<&UrlError> for UpstreamError {
    fn from(refusal: &UrlError) -> Self {
        let code = match refusal {
            UrlError::Unresolvable => McpFailureCode::DnsFailed,
            UrlError::Form(_) | UrlError::Name(_) | UrlError::Address(_) | UrlError::Resolved => {
                McpFailureCode::AddressForbidden
            }
        };
        Self::new(code, format!("its URL {refusal}"))
    }
}
