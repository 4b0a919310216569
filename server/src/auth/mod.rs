//! Who calls, and what they may do: keys, scopes, roles, the [`Caller`].

mod credentials;
pub mod invitation;
pub mod key;
mod mask;

pub use credentials::presented_key;
pub use invitation::InvitationToken;
pub use key::{ApiKey, KeySecret};
pub use mask::masked;
pub use switchy_types::{
    ALL_REST, Caller, OrgRole, PrivateNotes, Scope, Scopes, SpaceRole, is_known_scope,
};
