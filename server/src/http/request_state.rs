//! What belongs to the request that is running: its id, the headers of its answer, the failure
//! that the gateway will render. Task-local, so that nothing below has to carry it along.

use super::Dialect;
use dropshot::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::Value;
use std::cell::RefCell;
use std::time::{Duration, Instant};

tokio::task_local! {
    static STATE: RequestState;
}

/// The state of one running request.
pub struct RequestState {
    request_id: String,
    dialect: Dialect,
    message_id: RefCell<Value>,
    headers: RefCell<HeaderMap>,
    failure: RefCell<Option<Answered>>,
    caller: RefCell<Option<String>>,
    actor: RefCell<Option<String>>,
    call: RefCell<Option<String>>,
    cause: RefCell<Option<String>>,
    deadline: Option<Instant>,
}

/// A rendered failure, and what the log says of it.
pub struct Answered {
    /// The complete answer.
    pub response: Response<Body>,
    /// The chain of causes; for the log only.
    pub cause: String,
}

impl RequestState {
    /// For one request.
    pub fn new(request_id: String, dialect: Dialect) -> Self {
        RequestState {
            request_id,
            dialect,
            message_id: RefCell::default(),
            headers: RefCell::default(),
            failure: RefCell::default(),
            caller: RefCell::default(),
            actor: RefCell::default(),
            call: RefCell::default(),
            cause: RefCell::default(),
            deadline: None,
        }
    }

    /// The same, to be answered until then.
    pub fn until(self, deadline: Instant) -> Self {
        RequestState { deadline: Some(deadline), ..self }
    }
}

/// Runs `future` as the request that `state` describes.
pub async fn enter<F: Future>(state: RequestState, future: F) -> F::Output {
    STATE.scope(state, crate::round_trips::counted(future)).await
}

/// The running request's id; empty outside of one.
pub fn request_id() -> String {
    STATE.try_with(|s| s.request_id.clone()).unwrap_or_default()
}

/// How the running request's answer is shaped.
pub fn dialect() -> Dialect {
    STATE.try_with(|s| s.dialect).unwrap_or_default()
}

/// Which JSON-RPC message is being answered.
pub fn set_message_id(id: &Value) {
    let _ = STATE.try_with(|s| *s.message_id.borrow_mut() = id.clone());
}

/// The id of the JSON-RPC message that is being answered; null while there is none.
pub fn message_id() -> Value {
    STATE.try_with(|s| s.message_id.borrow().clone()).unwrap_or_default()
}

/// How much time the running request has left; `None` outside of one.
pub fn time_left() -> Option<Duration> {
    let deadline = STATE.try_with(|s| s.deadline).ok().flatten()?;
    Some(deadline.saturating_duration_since(Instant::now()))
}

/// Puts a header on the answer, whatever the answer will be.
pub fn set_header(name: HeaderName, value: HeaderValue) {
    let _ = STATE.try_with(|s| s.headers.borrow_mut().insert(name, value));
}

/// Says that the answer was given before, and nothing was done now.
pub fn mark_replayed() {
    let name = HeaderName::from_static("idempotency-replayed");
    set_header(name, HeaderValue::from_static("true"));
}

/// The headers set so far; leaves none.
pub fn take_headers() -> HeaderMap {
    STATE.try_with(|s| s.headers.take()).unwrap_or_default()
}

/// Leaves a failure for the gateway.
pub fn answer_with(response: Response<Body>, cause: String) {
    let _ = STATE.try_with(|s| *s.failure.borrow_mut() = Some(Answered { response, cause }));
}

/// The failure that a handler left, if any.
pub fn take_failure() -> Option<Answered> {
    STATE.try_with(|s| s.failure.take()).ok().flatten()
}

/// Names the caller for the log: the key's id, never the key.
fn set_caller(key_id: &str) {
    let _ = STATE.try_with(|s| *s.caller.borrow_mut() = Some(key_id.to_owned()));
}

/// Notes a request's authentication: the key, for the log, and headers of the answer.
pub fn admitted(key_id: Option<&str>, headers: &[(&'static str, u32)]) {
    if let Some(key_id) = key_id {
        set_caller(key_id);
    }
    for (name, number) in headers {
        set_header(HeaderName::from_static(name), HeaderValue::from(*number));
    }
}

/// Names the member for whom the call is made, for the log.
pub fn set_actor(user_id: &str) {
    let _ = STATE.try_with(|s| *s.actor.borrow_mut() = Some(user_id.to_owned()));
}

/// For whom the call is made, if that is not simply the key's user.
pub fn actor() -> Option<String> {
    STATE.try_with(|s| s.actor.borrow().clone()).ok().flatten()
}

/// Says for the log what is asked for, where the path does not tell.
pub fn set_call(call: String) {
    let _ = STATE.try_with(|s| *s.call.borrow_mut() = Some(call));
}

/// What is asked for, where the path does not tell.
pub fn call() -> Option<String> {
    STATE.try_with(|s| s.call.borrow().clone()).ok().flatten()
}

/// Says for the log why a finished answer is a failure.
pub fn set_cause(cause: String) {
    let _ = STATE.try_with(|s| *s.cause.borrow_mut() = Some(cause));
}

/// Why a finished answer is a failure.
pub fn cause() -> Option<String> {
    STATE.try_with(|s| s.cause.borrow().clone()).ok().flatten()
}

/// Who calls, once known.
pub fn caller() -> Option<String> {
    STATE.try_with(|s| s.caller.borrow().clone()).ok().flatten()
}
