//! Why a call is not carried out.

use crate::auth::Scope;
use crate::error::Error;
use crate::http::rpc::{Fault, code};
use http::StatusCode;
use serde_json::json;

/// Why a call is not carried out.
#[derive(Debug)]
pub enum CallError {
    /// The key lacks a scope.
    Scope(Scope),
    /// The call must say for whom it is made.
    ActorRequired(&'static str),
    /// The call may not be made for that member.
    ActorForbidden(&'static str),
    /// What the store, or the arguments' check, says.
    Failed(Error),
    /// An earlier call with the same idempotency key was told this.
    Kept(Box<Fault>),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        CallError::Failed(error)
    }
}

impl CallError {
    /// As the caller is told.
    pub fn fault(&self) -> Fault {
        let forbidden = |name: &str, message: String, more: serde_json::Value| {
            let mut data = json!({ "code": name });
            if let (Some(data), Some(more)) = (data.as_object_mut(), more.as_object()) {
                data.extend(more.clone());
            }
            Fault::new(StatusCode::FORBIDDEN, code::SERVER_ERROR, message, data)
        };
        match self {
            CallError::Scope(scope) => forbidden(
                "SCOPE_MISSING",
                format!("this key lacks the scope `{}`", scope.as_str()),
                json!({ "scope": scope.as_str() }),
            ),
            CallError::ActorRequired(message) => {
                forbidden("ACTOR_REQUIRED", (*message).to_owned(), json!({}))
            }
            CallError::ActorForbidden(message) => {
                forbidden("ACTOR_FORBIDDEN", (*message).to_owned(), json!({}))
            }
            CallError::Failed(error) => Fault::of(error),
            CallError::Kept(fault) => (**fault).clone(),
        }
    }

    /// For the log.
    pub fn cause(&self) -> String {
        match self {
            CallError::Failed(error) => error.chain(),
            // its message may quote what was sent
            CallError::Kept(fault) => format!("refused before with code {}", fault.code),
            other => other.fault().message,
        }
    }
}
