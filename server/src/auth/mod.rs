//! Who calls, and what they may do: keys, scopes, roles, the [`Caller`].

mod caller;
pub mod invitation;
pub mod key;
mod mask;
mod role;
mod scope;

pub use caller::{Caller, PrivateNotes};
pub use invitation::InvitationToken;
pub use key::{ApiKey, KeySecret};
pub use mask::masked;
pub use role::{OrgRole, SpaceRole};
pub use scope::{ALL_REST, Scope, Scopes, is_known as is_known_scope};
