//! Switchy as an MCP server (contract B9): the memory and the Spaces as tools, resources and a
//! prompt, for any MCP client.
//!
//! The protocol itself is `rmcp`'s (see `protocol.rs`); what is asked for is done here, by the same
//! store functions as in the REST API. The server keeps no sessions: every message stands alone.

mod actor;
mod cursor;
pub mod document;
mod error;
mod message;
mod once;
mod paging;
mod prompts;
mod protocol;
mod quotas;
mod resources;
mod schema;
mod tools;
mod truncation;
mod turn;

pub use actor::ACTOR_HEADER;
pub use message::MAX_BATCH;
pub use quotas::Quotas;
pub use truncation::MAX_RESULT_BYTES;

use crate::auth::{KeySecret, presented_key};
use crate::error::{Error, Result};
use crate::http::peer as peers;
use crate::http::reply::Recorded;
use crate::http::request_state;
use crate::http::rpc::Fault;
use crate::limits::{AuthAttempt, KeyCache, Quota, Seat, Seats};
use crate::search::Search;
use crate::store::Store;
use http::{HeaderMap, StatusCode};
use message::{Incoming, Message, Unreadable};
use protocol::JsonRpcResponse;
use serde_json::Value;
use std::net::IpAddr;
use turn::Turn;

/// What calls are answered with.
pub struct McpServer<'a> {
    /// PostgreSQL.
    pub store: &'a Store,
    /// Embedder and ranking.
    pub search: &'a Search,
    /// Under which keys are digested.
    pub key_secret: &'a KeySecret,
    /// Keys that were used lately.
    pub key_cache: &'a KeyCache,
    /// Requests without a valid key from one address in any 60 seconds; 0 means unlimited.
    pub failures: u32,
    /// How many requests are worked on at once.
    pub seats: &'a Seats,
    /// Calls of one key.
    pub quotas: &'a Quotas,
}

impl McpServer<'_> {
    /// Answers one POST: a message, or a batch of them. `body` is not awaited for a stranger.
    ///
    /// Never fails otherwise than in JSON-RPC; status and body are ready to be sent.
    pub async fn answer(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        body: impl Future<Output = Result<Vec<u8>>>,
    ) -> Recorded {
        if let Err(error) = self.expect_key(headers, peer).await {
            return recorded(JsonRpcResponse::error(&error, &Value::Null));
        }
        let incoming = match body.await {
            Ok(bytes) => message::parse(bytes).await,
            Err(error) => Err(Unreadable::of(Fault::of(&error))),
        };
        match incoming {
            Ok(Incoming::One(message)) => {
                request_state::set_message_id(&message.id_or_null());
                recorded(self.one(headers, peer, &message).await)
            }
            Ok(Incoming::Batch(messages)) => self.batch(headers, peer, messages).await,
            // only who has a key learns what is wrong with a body
            Err(unreadable) => {
                request_state::set_message_id(&unreadable.id);
                recorded(match self.admit(headers, peer, None).await {
                    Ok(_) => JsonRpcResponse::fault(&unreadable.fault, &unreadable.id),
                    Err(error) => JsonRpcResponse::error(&error, &unreadable.id),
                })
            }
        }
    }

    /// Refuses a request without a valid key before its body is read. Only the body says what the
    /// request counts against, so it is counted later, message by message; a key that was valid when
    /// it was used last is asked for then, too.
    async fn expect_key(&self, headers: &HeaderMap, peer: IpAddr) -> Result<()> {
        let digest = presented_key(headers, None).map(|key| self.key_secret.digest(&key));
        if digest.is_ok_and(|digest| self.key_cache.get(&digest).is_some()) {
            return Ok(());
        }
        let uncounted = Quota { bucket: self.quotas.of(None).bucket, limit: 0 };
        self.authenticate(headers, peer, uncounted).await.map(drop)
    }

    async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        quota: Quota,
    ) -> Result<crate::auth::Caller> {
        let (key, address) = (presented_key(headers, None), peers::counted(peer));
        let attempt = AuthAttempt::new(self.key_secret, self.failures, key, address, quota);
        let digest = attempt.attempt().digest;
        let admission = attempt.authenticate(self.store).await?;
        let key_id = admission.key_id.as_ref().map(|id| id.as_str());
        request_state::admitted(key_id, &admission.headers);
        let admitted = admission.caller;
        match (&admitted, digest) {
            (Ok(caller), Some(digest)) => self.key_cache.remember(digest, caller),
            (Err(Error::Unauthenticated(_)), Some(digest)) => self.key_cache.forget(&digest),
            _ => {}
        }
        admitted
    }

    async fn admit(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        message: Option<&Message>,
    ) -> Result<(crate::auth::Caller, Seat)> {
        let caller = self.authenticate(headers, peer, self.quotas.of(message)).await?;
        let seat = self.seats.take(&caller).await?;
        Ok((caller, seat))
    }

    async fn one(&self, headers: &HeaderMap, peer: IpAddr, message: &Message) -> JsonRpcResponse {
        request_state::set_call(message.call());
        match self.admit(headers, peer, Some(message)).await {
            Ok((caller, _seat)) => {
                let turn = Turn::new(self, headers, caller);
                protocol::speak(&turn, headers, message).await
            }
            Err(error) => JsonRpcResponse::error(&error, &message.id_or_null()),
        }
    }

    /// Every message is counted and answered as if it had come alone, one after the other.
    async fn batch(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        messages: Vec<Result<Message, Unreadable>>,
    ) -> Recorded {
        if let Err(fault) = message::batch_allowed(headers, &messages) {
            return recorded(match self.admit(headers, peer, None).await {
                Ok(_) => JsonRpcResponse::fault(&fault, &Value::Null),
                Err(error) => JsonRpcResponse::error(&error, &Value::Null),
            });
        }
        let mut answers = Vec::new();
        for message in messages {
            let response = match &message {
                Ok(message) => {
                    request_state::set_message_id(&message.id_or_null());
                    self.one(headers, peer, message).await
                }
                Err(unreadable) => match self.admit(headers, peer, None).await {
                    Ok(_) => JsonRpcResponse::fault(&unreadable.fault, &unreadable.id),
                    Err(error) => JsonRpcResponse::error(&error, &unreadable.id),
                },
            };
            if response.status == StatusCode::UNAUTHORIZED {
                return recorded(response); // so are all the others
            }
            answers.extend((!response.body.is_empty()).then_some(response.body));
        }
        request_state::set_call("batch".to_owned());
        if answers.is_empty() {
            return recorded(JsonRpcResponse::accepted());
        }
        let body = format!("[{}]", answers.join(","));
        Recorded { status: StatusCode::OK, body, location: None }
    }
}

/// The finished answer. Its headers and the cause of a failure go to the running request's state.
fn recorded(response: JsonRpcResponse) -> Recorded {
    for (name, value) in &response.headers {
        request_state::set_header(name.clone(), value.clone());
    }
    if let Some(cause) = response.cause {
        request_state::set_cause(cause);
    }
    Recorded { status: response.status, body: response.body, location: None }
}
