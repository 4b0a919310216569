//! Why a call is not carried out.

use crate::auth::Scope;
use crate::error::Error;
use crate::http::rpc::{Fault, code};
use http::StatusCode;
use serde_json::json;

/// Why a call is not carried out.
#[derive(Debug)]
pub enum Refusal {
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

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Failed(error)
    }
}

impl Refusal {
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
            Refusal::Scope(scope) => forbidden(
                "SCOPE_MISSING",
                format!("this key lacks the scope `{}`", scope.as_str()),
                json!({ "scope": scope.as_str() }),
            ),
            Refusal::ActorRequired(message) => {
                forbidden("ACTOR_REQUIRED", (*message).to_owned(), json!({}))
            }
            Refusal::ActorForbidden(message) => {
                forbidden("ACTOR_FORBIDDEN", (*message).to_owned(), json!({}))
            }
            Refusal::Failed(error) => Fault::of(error),
            Refusal::Kept(fault) => (**fault).clone(),
        }
    }

    /// For the log.
    pub fn cause(&self) -> String {
        match self {
            Refusal::Failed(error) => error.chain(),
            // its message may quote what was sent
            Refusal::Kept(fault) => format!("refused before with code {}", fault.code),
            other => other.fault().message,
        }
    }
}
