//! Writing calls with an idempotency key: the first wins, the others are told what it was told
//! (contract A5, B9).

use super::refusal::Refusal;
use super::tools::Tool;
use super::turn::Call;
use crate::error::{Error, Result};
use crate::http::reply::Recorded;
use crate::http::rpc::Fault;
use crate::limits::{Claimed, First, Part, begin_part};
use crate::store::rights::{Outside, Right};
use http::{HeaderMap, StatusCode};
use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What stands for the HTTP method in what is kept.
const METHOD: &str = "MCP";

/// A writing call, claimed or answered already.
pub enum Once {
    /// Do the work, then [`finish`].
    First(Box<First>),
    /// It was done before; this was the result.
    Replay(Value),
}

/// The claim of a call. Whoever the call is made for belongs to it: the same key does not show to
/// one member what was written for another.
pub fn claimed(
    call: &Call<'_>,
    tool: Tool,
    given: &JsonObject,
    key: Option<String>,
) -> Option<Claimed> {
    let mut arguments = Value::Object(given.clone());
    arguments.sort_all_objects();
    let digest = Sha256::new()
        .chain_update(call.caller.user_id.as_str())
        .chain_update(arguments.to_string())
        .finalize();
    key.map(|key| Claimed {
        method: METHOD.to_owned(),
        path: format!("tools/{}", tool.name()),
        key,
        digest: digest.into(),
        outside: Outside::Absent,
    })
}

/// Begins the work.
pub async fn begin(call: &Call<'_>, claimed: Option<Claimed>) -> Result<Once, Refusal> {
    Ok(match begin_part(call.server.store, &call.caller, claimed).await? {
        Part::First(first) => Once::First(first),
        Part::Replay(recorded) => Once::Replay(kept(recorded)?),
    })
}

/// Ends the work, and keeps what came of it for those who have the right to see it.
pub async fn finish(
    first: First,
    outcome: Result<(impl Serialize, Right)>,
) -> Result<Value, Refusal> {
    let outcome = outcome.and_then(|(result, right)| {
        let body = serde_json::to_string(&result).map_err(Error::internal)?;
        Ok(Recorded { status: StatusCode::OK, body, location: None }.kept_for(right))
    });
    kept(first.settle(outcome).await?)
}

/// A kept result; or a kept failure, which is a whole message with the id of its own time.
fn kept(recorded: Recorded) -> Result<Value, Refusal> {
    let mut value: Value = serde_json::from_str(&recorded.body).map_err(Error::internal)?;
    if recorded.status.is_success() {
        return Ok(value);
    }
    let error = value["error"].take();
    let malformed = || Error::internal("a kept failure is none");
    Err(Refusal::Kept(Box::new(Fault {
        code: error["code"].as_i64().and_then(|n| n.try_into().ok()).ok_or_else(malformed)?,
        message: error["message"].as_str().ok_or_else(malformed)?.to_owned(),
        data: error["data"].clone(),
        status: recorded.status,
        headers: HeaderMap::new(),
    })))
}
