//! The lowest floor of the server: ids, roles, scopes, the caller, plans, vectors, and
//! what can go wrong.
//!
//! Every other room may use this crate, and it uses none of them: no SQL beyond how an id is stored,
//! no HTTP.

mod caller;
pub mod error;
pub mod ids;
mod issue;
pub mod plans;
mod role;
mod scope;
pub mod vectors;

pub use caller::{Caller, PrivateNotes};
pub use role::{OrgRole, SpaceRole};
pub use scope::{ALL_REST, Scope, Scopes, is_known as is_known_scope};
