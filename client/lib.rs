#![doc = include_str!("../docs/client.md")]

mod call;
mod client;
mod enums;
mod envelope;
mod error;
mod events;
mod generated;
mod memory;
mod messages;
mod request;
mod retry;
mod saved_sessions;
mod sessions;
mod spaces;
mod sse;
mod system;
#[cfg(test)]
mod tests;

pub use client::{BuildError, Client, ClientBuilder, DEFAULT_BASE_URL, DEFAULT_TIMEOUT};
pub use error::{Error, ErrorCode, FieldError, PathStep};
pub use events::{Event, EventKind, Events, MAX_RECONNECTS, MAX_SILENCE};
pub use memory::Memory;
pub use messages::Messages;
pub use request::{Operation, Request};
pub use retry::{DEFAULT_MAX_RETRIES, MAX_WAIT};
pub use saved_sessions::SavedSessions;
pub use sessions::Sessions;
pub use spaces::Spaces;
pub use uuid::Uuid;

/// What can be asked of the server: the type parameters of [`Request`].
pub mod operation {
    pub use crate::{
        memory::{MemoryCreate, MemoryDelete, MemoryList, MemorySearch},
        messages::{MessageList, MessageSend, ReactionAdd, ReactionRemove},
        saved_sessions::{
            SavedSessionArchive, SavedSessionFacets, SavedSessionList, SavedSessionSave,
            SavedSessionUnarchive, SavedSessionUpdate, SavedSessionView, Transcript,
            TranscriptAppend,
        },
        sessions::{SessionArchive, SessionCreate, SessionList, SessionUpdate, SessionView},
        spaces::{SpaceCreate, SpaceList, SpaceView},
        system::{Health, Me, OpenApi, Ready},
    };
}

/// The resources and requests of the API, as the OpenAPI document describes them.
///
/// Fields that this version does not know are ignored, and values that it does not know become
/// the `Other` of their enumeration: a newer server breaks no older client.
pub mod types {
    pub use crate::{enums::*, generated::types::*};
}
