//! Who calls, and what they may do: keys, scopes, roles, the [`Caller`].

mod caller;
pub mod key;
mod role;
mod scope;

pub use caller::{Caller, PrivateNotes};
pub use key::{ApiKey, KeySecret, masked};
pub use role::{OrgRole, SpaceRole};
pub use scope::{ALL_REST, Scope, Scopes, is_known as is_known_scope};
