//! One call under way: whose it is, and what is done for it.

use super::error::CallError;
use super::tools::{self, Tool};
use super::{McpServer, actor, prompts, resources};
use crate::auth::{Caller, PrivateNotes, Scope};
use crate::error::{Error, Result};
use crate::http::extract::IDEMPOTENCY_KEY_LENGTH;
use crate::store::Tx;
use http::HeaderMap;
use rmcp::model::{
    CallToolResult, GetPromptResult, JsonObject, ListResourcesResult, ReadResourceResult,
};

/// What the protocol asks for.
pub enum Work {
    /// `tools/call`.
    CallTool {
        /// The tool's name.
        name: String,
        /// Its arguments.
        arguments: JsonObject,
        /// The request's `_meta`.
        meta: JsonObject,
    },
    /// `resources/list`.
    ListResources {
        /// Where to go on.
        cursor: Option<String>,
    },
    /// `resources/read`.
    ReadResource {
        /// Which.
        uri: String,
    },
    /// `prompts/get`.
    GetPrompt {
        /// The prompt's name.
        name: String,
        /// Its arguments.
        arguments: JsonObject,
    },
}

/// What came of it.
pub enum Done {
    /// Of `tools/call`.
    Tool(CallToolResult),
    /// Of `resources/list`.
    Resources(ListResourcesResult),
    /// Of `resources/read`.
    Resource(ReadResourceResult),
    /// Of `prompts/get`.
    Prompt(GetPromptResult),
}

/// One message of a caller who has been let in.
pub struct Turn<'a> {
    server: &'a McpServer<'a>,
    headers: &'a HeaderMap,
    /// The key's user.
    caller: Caller,
}

impl<'a> Turn<'a> {
    /// For one message.
    pub fn new(server: &'a McpServer<'a>, headers: &'a HeaderMap, caller: Caller) -> Self {
        Turn { server, headers, caller }
    }

    /// Does what is asked for, in the task of the request: its deadline ends it.
    pub async fn perform(&self, work: Work) -> Result<Done, CallError> {
        match work {
            Work::CallTool { name, arguments, meta } => {
                let tool = Tool::named(&name).ok_or_else(|| {
                    Error::invalid(["name"], "unknown_tool", "is none of the tools that there are")
                })?;
                let call = self.call(Some(tool.scope())).await?;
                let key = idempotency_key(&meta)?;
                tools::call(&call, tool, arguments, key).await.map(Done::Tool)
            }
            Work::ListResources { cursor } => {
                let call = self.call(None).await?;
                resources::list(&call, cursor.as_deref()).await.map(Done::Resources)
            }
            Work::ReadResource { uri } => {
                let resource = resources::Uri::parse(&uri)?;
                let call = self.call(Some(resource.scope())).await?;
                resources::read(&call, &resource, &uri).await.map(Done::Resource)
            }
            Work::GetPrompt { name, arguments } => {
                if name != prompts::RECALL {
                    let what = "is none of the prompts that there are";
                    return Err(Error::invalid(["name"], "unknown_prompt", what).into());
                }
                let call = self.call(Some(Scope::McpMemoryRead)).await?;
                prompts::recall(&call, arguments).await.map(Done::Prompt)
            }
        }
    }

    async fn call(&self, scope: Option<Scope>) -> Result<Call<'a>, CallError> {
        if let Some(scope) = scope.filter(|scope| !self.caller.scopes.allow(*scope)) {
            return Err(CallError::Scope(scope));
        }
        let caller = actor::resolve(self.server.store, self.headers, self.caller.clone()).await?;
        Ok(Call { server: self.server, caller })
    }
}

/// A call that its key's scopes allow, and the member for whom it is made.
pub struct Call<'a> {
    /// What it is answered with.
    pub server: &'a McpServer<'a>,
    /// As whom it runs.
    pub caller: Caller,
}

impl Call<'_> {
    /// 403 unless the call says for whom it is made.
    pub fn require_actor(&self, why: &'static str) -> Result<(), CallError> {
        match self.caller.private_notes {
            PrivateNotes::Open | PrivateNotes::Withheld => Ok(()),
            PrivateNotes::Closed => Err(CallError::ActorRequired(why)),
        }
    }

    /// 403 unless the member for whom the call is made has consented to the key.
    pub fn require_consent(&self) -> Result<(), CallError> {
        match self.caller.private_notes {
            PrivateNotes::Open | PrivateNotes::Closed => Ok(()),
            PrivateNotes::Withheld => Err(CallError::ActorForbidden(
                "this member has not let the key write PRIVATE notes for them; they can, with \
                 PUT /api/me/delegations/{keyId} or `switchy delegation allow`",
            )),
        }
    }

    /// A transaction of the member.
    pub async fn begin(&self) -> Result<Tx> {
        self.server.store.begin(&self.caller).await
    }
}

/// Ends the transaction of a call that has only read, which nobody waits for.
pub fn end<T>(tx: Tx, outcome: Result<T>) -> Result<T> {
    tx.release();
    outcome
}

/// The key that makes a writing call safe to repeat, as `_meta.idempotencyKey`.
fn idempotency_key(meta: &JsonObject) -> Result<Option<String>> {
    match meta.get("idempotencyKey").filter(|key| !key.is_null()) {
        None => Ok(None),
        Some(key) => {
            let key = key.as_str().filter(|key| {
                IDEMPOTENCY_KEY_LENGTH.contains(&key.len())
                    && key.bytes().all(|b| b.is_ascii_graphic())
            });
            let refused = || {
                let message = "must be a text of 1 to 255 visible ASCII characters";
                Error::invalid(["_meta", "idempotencyKey"], "invalid", message)
            };
            key.map(|key| Some(key.to_owned())).ok_or_else(refused)
        }
    }
}
