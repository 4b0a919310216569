//! The tools, by the names that the contract gives them.

pub mod memory;
pub mod messages;
pub mod sessions;
pub mod spaces;

use super::error::CallError;
use super::schema::schema_of;
use super::turn::Call;
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::http::Check;
use crate::http::json::checked;
use rmcp::model::{CallToolResult, JsonObject, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::LazyLock;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Search the memory.
    SearchMemory,
    /// Write a note.
    AddMemory,
    /// List Spaces.
    ListSpaces,
    /// View a Space.
    GetSpace,
    /// List sessions.
    ListSessions,
    /// Read a session's messages.
    GetSessionTranscript,
    /// Say something in a session.
    PostMessage,
}

impl Tool {
    /// Every tool, in the order in which they are listed.
    pub const ALL: [Tool; 7] = [
        Tool::SearchMemory,
        Tool::AddMemory,
        Tool::ListSpaces,
        Tool::GetSpace,
        Tool::ListSessions,
        Tool::GetSessionTranscript,
        Tool::PostMessage,
    ];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        match self {
            Tool::SearchMemory => "search_memory",
            Tool::AddMemory => "add_memory",
            Tool::ListSpaces => "list_spaces",
            Tool::GetSpace => "get_space",
            Tool::ListSessions => "list_sessions",
            Tool::GetSessionTranscript => "get_session_transcript",
            Tool::PostMessage => "post_message",
        }
    }

    /// The tool with this name.
    pub fn named(name: &str) -> Option<Tool> {
        Tool::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// What calling it takes.
    pub fn scope(self) -> Scope {
        match self {
            Tool::SearchMemory => Scope::McpMemoryRead,
            Tool::AddMemory => Scope::McpMemoryWrite,
            Tool::ListSpaces | Tool::GetSpace => Scope::McpSpacesRead,
            Tool::ListSessions | Tool::GetSessionTranscript => Scope::McpSessionsRead,
            Tool::PostMessage => Scope::McpMessagesWrite,
        }
    }

    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        matches!(self, Tool::AddMemory | Tool::PostMessage)
    }

    fn title(self) -> &'static str {
        match self {
            Tool::SearchMemory => "Search the team's memory",
            Tool::AddMemory => "Write a note",
            Tool::ListSpaces => "List Spaces",
            Tool::GetSpace => "View a Space",
            Tool::ListSessions => "List sessions",
            Tool::GetSessionTranscript => "Read a session",
            Tool::PostMessage => "Post a message",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Tool::SearchMemory => {
                "Finds notes of the team's memory by meaning and by words, best first: notes of \
                 the organization and of the Spaces that you are in. Ask in full sentences. \
                 `spaceSlug` restricts the search to the notes of one Space."
            }
            Tool::AddMemory => {
                "Writes a note into the team's memory: plain text, best one fact in full \
                 sentences that a stranger understands. `visibility` says who will see it: ORG is \
                 everybody in the organization, SPACE the members of the Space `spaceSlug`, \
                 PRIVATE the user alone."
            }
            Tool::ListSpaces => {
                "Lists the Spaces (shared workspaces) that you are a member of, most recently \
                 updated first."
            }
            Tool::GetSpace => {
                "Shows one Space: what it is for, your role in it, and its most recent sessions."
            }
            Tool::ListSessions => {
                "Lists the sessions (conversations) of a Space, most recently updated first."
            }
            Tool::GetSessionTranscript => {
                "Reads what was said in a session, newest message first. `before` pages back."
            }
            Tool::PostMessage => {
                "Posts a message to a session, in the name of the user for whom the call is made. \
                 Everybody in the Space sees it."
            }
        }
    }

    /// The tool, as clients list it.
    pub fn definition(self) -> &'static rmcp::model::Tool {
        static ALL: LazyLock<[rmcp::model::Tool; 7]> =
            LazyLock::new(|| Tool::ALL.map(Tool::define));
        &ALL[self as usize]
    }

    fn define(self) -> rmcp::model::Tool {
        use memory::{AddMemory, FoundMemories, SearchMemory, WrittenMemory};
        use messages::{GetSessionTranscript, PostMessage, PostedMessage, Transcript};
        use sessions::{ListSessions, SessionPage};
        use spaces::{GetSpace, ListSpaces, SpaceDetails, SpacesPage};
        let (input, output) = match self {
            Tool::SearchMemory => (schema_of::<SearchMemory>(), schema_of::<FoundMemories>()),
            Tool::AddMemory => (schema_of::<AddMemory>(), schema_of::<WrittenMemory>()),
            Tool::ListSpaces => (schema_of::<ListSpaces>(), schema_of::<SpacesPage>()),
            Tool::GetSpace => (schema_of::<GetSpace>(), schema_of::<SpaceDetails>()),
            Tool::ListSessions => (schema_of::<ListSessions>(), schema_of::<SessionPage>()),
            Tool::GetSessionTranscript => {
                (schema_of::<GetSessionTranscript>(), schema_of::<Transcript>())
            }
            Tool::PostMessage => (schema_of::<PostMessage>(), schema_of::<PostedMessage>()),
        };
        let hints = ToolAnnotations::with_title(self.title())
            .read_only(!self.writes())
            .destructive(false)
            .idempotent(!self.writes())
            .open_world(false);
        rmcp::model::Tool::new(self.name(), self.description(), input)
            .with_title(self.title())
            .with_raw_output_schema(output)
            .with_annotations(hints)
    }
}

/// The arguments, or everything that is wrong with them.
fn arguments<T: DeserializeOwned + JsonSchema + Check>(given: JsonObject) -> Result<T> {
    checked(Value::Object(given))
}

fn result(value: impl Serialize) -> Result<CallToolResult> {
    Ok(CallToolResult::structured(serde_json::to_value(value).map_err(Error::internal)?))
}

/// Calls a tool. `key` makes a writing call safe to repeat.
pub async fn call(
    call: &Call<'_>,
    tool: Tool,
    given: JsonObject,
    key: Option<String>,
) -> Result<CallToolResult, CallError> {
    Ok(match tool {
        Tool::SearchMemory => result(memory::search_memory(call, arguments(given)?).await?),
        Tool::AddMemory => result(memory::add_memory(call, given, key).await?),
        Tool::ListSpaces => result(spaces::list_spaces(call, arguments(given)?).await?),
        Tool::GetSpace => result(spaces::get_space(call, arguments(given)?).await?),
        Tool::ListSessions => result(sessions::list_sessions(call, arguments(given)?).await?),
        Tool::GetSessionTranscript => {
            result(messages::get_session_transcript(call, arguments(given)?).await?)
        }
        Tool::PostMessage => result(messages::post_message(call, given, key).await?),
    }?)
}
