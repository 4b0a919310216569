//! Writing calls with an idempotency key: the first does the work, and repetitions get its answer.

use super::error::CallError;
use super::tools::Tool;
use super::turn::Call;
use crate::error::{Error, Result};
use crate::http::reply::Recorded;
use crate::http::request_state;
use crate::http::rpc::Fault;
use crate::limits::{Answer, Answered, Claimed, Kept, Once};
use crate::store::Tx;
use crate::store::rights::{Outside, Right};
use http::{HeaderMap, StatusCode};
use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What stands for the HTTP method in what is kept.
const METHOD: &str = "MCP";

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

/// Does the work of a call unless it was done before, and keeps its result for those who have the
/// right to see it.
pub async fn create<T: Serialize>(
    call: &Call<'_>,
    claimed: Option<Claimed>,
    work: impl AsyncFnOnce(&mut Tx) -> Result<(T, Right)>,
) -> Result<Value, CallError> {
    let refusal = |error: &Error| Recorded::failure(error).map(Answer::from);
    let once = Once { store: call.server.store, caller: &call.caller, claimed, refusal };
    let answered = once.run(async |tx| {
        let (result, right) = work(tx).await?;
        let body = serde_json::to_string(&result).map_err(Error::internal)?;
        let answer = Answer { status: StatusCode::OK.as_u16(), body, location: None };
        Ok(Kept { shown: answer.clone(), kept: answer, rights: vec![right] })
    });
    match answered.await? {
        Answered::Now(answer) => result(answer),
        Answered::Before(answer) => {
            request_state::mark_replayed();
            result(answer)
        }
    }
}

/// The result that was kept; or the failure, which is a whole message with the id of its own time.
fn result(answer: Answer) -> Result<Value, CallError> {
    let Recorded { status, body, .. } = answer.try_into()?;
    let mut value: Value = serde_json::from_str(&body).map_err(Error::internal)?;
    if status.is_success() {
        return Ok(value);
    }
    let error = value["error"].take();
    let malformed = || Error::internal("a kept failure is none");
    Err(CallError::Kept(Box::new(Fault {
        code: error["code"].as_i64().and_then(|n| n.try_into().ok()).ok_or_else(malformed)?,
        message: error["message"].as_str().ok_or_else(malformed)?.to_owned(),
        data: error["data"].clone(),
        status,
        headers: HeaderMap::new(),
    })))
}
