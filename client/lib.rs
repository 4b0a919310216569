#![doc = include_str!("../docs/client.md")]

mod billing;
mod call;
mod client;
mod delegations;
mod enums;
mod envelope;
mod error;
mod events;
mod generated;
mod invitations;
mod keys;
mod mcp_servers;
mod members;
mod memory;
mod messages;
mod pages;
mod request;
mod retry;
mod saved_sessions;
mod sessions;
mod space_members;
mod spaces;
mod sse;
mod system;
#[cfg(test)]
mod tests;

pub use billing::{Billing, TopUp};
pub use client::{BuildError, Client, ClientBuilder, DEFAULT_BASE_URL, DEFAULT_TIMEOUT};
pub use delegations::Delegations;
pub use error::{Error, ErrorCode, FieldError, PathStep};
pub use events::{Event, EventKind, Events, MAX_RECONNECTS, MAX_SILENCE};
pub use invitations::Invitations;
pub use keys::{Keys, MintedKey};
pub use mcp_servers::{McpServers, SpaceMcps};
pub use members::Members;
pub use memory::Memory;
pub use messages::Messages;
pub use pages::{Paged, Part};
pub use request::{Operation, Request};
pub use retry::{DEFAULT_MAX_RETRIES, MAX_WAIT};
pub use saved_sessions::SavedSessions;
pub use sessions::Sessions;
pub use space_members::SpaceMembers;
pub use spaces::Spaces;
pub use uuid::Uuid;

/// What can be asked of the server: the type parameters of [`Request`].
pub mod operation {
    pub use crate::billing::{BillingCheckout, BillingPortal, BillingTopUp, CreditView};
    pub use crate::mcp_servers::{
        McpServerCreate, McpServerDelete, McpServerList, McpServerTest, SpaceMcpBind, SpaceMcpList,
        SpaceMcpUnbind,
    };
    pub use crate::{
        delegations::{DelegationAllow, DelegationEnd, DelegationList},
        invitations::{InvitationAccept, InvitationCreate, InvitationList, InvitationRevoke},
        keys::{KeyCreate, KeyList, KeyRevoke, KeyRotate},
        members::{MemberList, MemberRemove, MemberUpdate},
        memory::{MemoryBatch, MemoryUpdate, MemoryView},
        memory::{MemoryCreate, MemoryDelete, MemoryList, MemorySearch},
        messages::{MessageList, MessageSearch, MessageSend, ReactionAdd, ReactionRemove},
        saved_sessions::{
            SavedSessionArchive, SavedSessionFacets, SavedSessionList, SavedSessionSave,
            SavedSessionUnarchive, SavedSessionUpdate, SavedSessionView, Transcript,
            TranscriptAppend,
        },
        sessions::{SessionArchive, SessionCreate, SessionList, SessionUpdate, SessionView},
        space_members::{SpaceMemberAdd, SpaceMemberList, SpaceMemberRemove, SpaceMemberUpdate},
        spaces::{SpaceArchive, SpaceUpdate},
        spaces::{SpaceCreate, SpaceList, SpaceView},
        system::{Health, McpOpenApi, Me, OpenApi, Ready},
    };
}

/// The resources and requests of the API, as the OpenAPI document describes them.
///
/// Fields that this version does not know are ignored, and values that it does not know become
/// the `Other` of their enumeration: a newer server breaks no older client.
pub mod types {
    pub use crate::{enums::*, generated::types::*};
}
