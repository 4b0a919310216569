//! Who sees what: the one place in which the queries over tenants' rows say so.
//!
//! Every query over memories, their embeddings, sessions and Spaces goes through a predicate of
//! this file. Row-level security (in `migrations/`) enforces the same rules a second time, from the
//! transaction's settings instead of from the values bound here, so that neither layer depends on
//! the other.
//!
//! The rules (contract A8, B4, D2):
//! * PRIVATE memories: their author alone, whatever anybody's role, and not even they where the notes
//!   are closed (contract B9);
//! * SPACE memories: the members of that Space, as long as the Space is not archived;
//! * ORG memories: every member of the organization;
//! * sessions: the members of their Space; private ones their creator alone;
//! * where somebody else's key acts for a member: what that member sees, but PRIVATE memories and
//!   private sessions only with their consent (contract E7);
//! * consents of that kind (delegations): who has given them alone;
//! * messages, reactions and events: who sees their session;
//! * Spaces: their members. Being in the organization grants nothing;
//! * memberships of a Space: the members of that Space;
//! * members, plan and credits: everybody in the organization; its invitations: its OWNERs and
//!   ADMINs;
//! * keys: their user, and the organization's OWNERs and ADMINs;
//! * integrations: every member of the organization; where they are bound, the members of that
//!   Space, and the organization's OWNERs and ADMINs.

use super::schema::{api_keys, billing_accounts, invitations, members};
use super::schema::{mcp_servers, space_mcp_servers};
use super::schema::{memories, memory_embeddings, sessions, space_members, spaces};
use super::schema::{message_reactions, messages, session_events};
use crate::auth::{Caller, OrgRole};
use aliases::{OwnMemberships, own_memberships};
use diesel::dsl::{AsExprOf, auto_type, exists};
use diesel::prelude::*;
use diesel::query_source::{Alias, AliasedField};
use diesel::sql_types::Bool;

/// The live Spaces that the caller is a member of.
#[auto_type]
fn own_spaces<'a>(caller: &'a Caller) -> _ {
    let user: &'a str = caller.user_id.as_str();
    let org: &'a str = caller.org_id.as_str();
    space_members::table
        .inner_join(spaces::table)
        .filter(space_members::org_id.eq(org))
        .filter(space_members::user_id.eq(user))
        .filter(spaces::archived_at.is_null())
        .select(space_members::space_id.nullable())
}

/// Memories that the caller may see.
#[auto_type]
pub(super) fn memory<'a>(caller: &'a Caller) -> _ {
    let reader: &'a str = caller.private_reader();
    let org: &'a str = caller.org_id.as_str();
    let own: own_spaces<'a> = own_spaces(caller);
    let everybodys = memories::visibility.eq("ORG");
    let authors = memories::visibility.eq("PRIVATE").and(memories::author_user_id.eq(reader));
    let members = memories::visibility.eq("SPACE").and(memories::space_id.eq_any(own));
    memories::org_id.eq(org).and(everybodys.or(authors).or(members))
}

/// Embeddings of memories that the caller may see.
#[auto_type]
pub(super) fn embedding<'a>(caller: &'a Caller) -> _ {
    let reader: &'a str = caller.private_reader();
    let org: &'a str = caller.org_id.as_str();
    let own: own_spaces<'a> = own_spaces(caller);
    let everybodys = memory_embeddings::visibility.eq("ORG");
    let authors = memory_embeddings::visibility
        .eq("PRIVATE")
        .and(memory_embeddings::author_user_id.eq(reader));
    let members =
        memory_embeddings::visibility.eq("SPACE").and(memory_embeddings::space_id.eq_any(own));
    memory_embeddings::org_id.eq(org).and(everybodys.or(authors).or(members))
}

/// Sessions that the caller may see, archived ones included.
#[auto_type]
pub(super) fn session<'a>(caller: &'a Caller) -> _ {
    let creator: &'a str = caller.private_creator();
    let org: &'a str = caller.org_id.as_str();
    let own: own_spaces<'a> = own_spaces(caller);
    let shared = sessions::visibility.eq("workspace");
    let own_private = sessions::created_by_user_id.eq(creator);
    sessions::org_id
        .eq(org)
        .and(shared.or(own_private))
        .and(sessions::space_id.nullable().eq_any(own))
}

/// [`session`] for the queries that Diesel cannot say: of the rows of `sessions`, with the
/// organization as `$1` and the user as `$2`. Only for who calls with a key of their own, as in the
/// REST API everybody does.
pub(super) const SESSION_SQL: &str = "sessions.org_id = $1 \
     AND (sessions.visibility = 'workspace' OR sessions.created_by_user_id = $2) \
     AND sessions.space_id IN (SELECT own.space_id FROM space_members own \
        JOIN spaces place ON place.id = own.space_id \
        WHERE own.org_id = $1 AND own.user_id = $2 AND place.archived_at IS NULL)";

/// Spaces that the caller is a member of, archived ones excluded.
#[auto_type]
pub(super) fn space<'a>(caller: &'a Caller) -> _ {
    let user: &'a str = caller.user_id.as_str();
    let org: &'a str = caller.org_id.as_str();
    let membership = space_members::table
        .filter(space_members::space_id.eq(spaces::id))
        .filter(space_members::user_id.eq(user));
    spaces::org_id.eq(org).and(spaces::archived_at.is_null()).and(exists(membership))
}

/// Members of the caller's organization.
#[auto_type]
pub(super) fn member<'a>(caller: &'a Caller) -> _ {
    let org: &'a str = caller.org_id.as_str();
    members::org_id.eq(org)
}

/// Invitations that the caller may see: none, for a mere member.
#[auto_type]
pub(super) fn invitation<'a>(caller: &'a Caller) -> _ {
    let org: &'a str = caller.org_id.as_str();
    let manages: bool = caller.role != OrgRole::Member;
    invitations::org_id.eq(org).and(manages.into_sql::<Bool>())
}

/// A second look at one table needs a second name for it.
mod aliases {
    use super::space_members;
    diesel::alias!(space_members as own_memberships: OwnMemberships);
}

/// Memberships of Spaces that the caller is in himself.
#[auto_type]
pub(super) fn space_member<'a>(caller: &'a Caller) -> _ {
    let user: &'a str = caller.user_id.as_str();
    let org: &'a str = caller.org_id.as_str();
    let own: Alias<OwnMemberships> = own_memberships;
    let own_space: AliasedField<OwnMemberships, space_members::space_id> =
        own_memberships.field(space_members::space_id);
    let own_user: AliasedField<OwnMemberships, space_members::user_id> =
        own_memberships.field(space_members::user_id);
    let membership = own.filter(own_user.eq(user)).select(own_space);
    space_members::org_id.eq(org).and(space_members::space_id.eq_any(membership))
}

/// Keys that the caller may know of: his own, and for an OWNER or ADMIN the organization's.
#[auto_type]
pub(super) fn key<'a>(caller: &'a Caller) -> _ {
    let user: &'a str = caller.user_id.as_str();
    let org: &'a str = caller.org_id.as_str();
    let manages: bool = matches!(caller.role, OrgRole::Owner | OrgRole::Admin);
    let managed: AsExprOf<bool, Bool> = manages.into_sql::<Bool>();
    api_keys::org_id.eq(org).and(api_keys::user_id.eq(user).or(managed))
}

/// Delegations that the caller may know of: those that they have given. Of the rows of
/// `delegations`, with the organization as `$1` and the user as `$2`.
pub(super) const DELEGATION_SQL: &str = "delegations.org_id = $1 AND delegations.user_id = $2";

/// The sessions that the caller may see, by id.
#[auto_type]
fn seen_sessions<'a>(caller: &'a Caller) -> _ {
    let seen: session<'a> = session(caller);
    sessions::table.filter(seen).select(sessions::id)
}

/// Messages that the caller may see.
#[auto_type]
pub(super) fn message<'a>(caller: &'a Caller) -> _ {
    let org: &'a str = caller.org_id.as_str();
    let seen: seen_sessions<'a> = seen_sessions(caller);
    messages::org_id.eq(org).and(messages::session_id.eq_any(seen))
}

/// Reactions that the caller may see.
#[auto_type]
pub(super) fn reaction<'a>(caller: &'a Caller) -> _ {
    let org: &'a str = caller.org_id.as_str();
    let seen: seen_sessions<'a> = seen_sessions(caller);
    message_reactions::org_id.eq(org).and(message_reactions::session_id.eq_any(seen))
}

/// Events that the caller may see.
#[auto_type]
pub(super) fn session_event<'a>(caller: &'a Caller) -> _ {
    let org: &'a str = caller.org_id.as_str();
    let seen: seen_sessions<'a> = seen_sessions(caller);
    session_events::org_id.eq(org).and(session_events::session_id.eq_any(seen))
}

/// Plan and credits of the caller's organization.
#[auto_type]
pub(super) fn billing<'a>(caller: &'a Caller) -> _ {
    let org: &'a str = caller.org_id.as_str();
    billing_accounts::org_id.eq(org)
}

/// Integrations that the caller may see.
#[auto_type]
pub(super) fn mcp_server<'a>(caller: &'a Caller) -> _ {
    let org: &'a str = caller.org_id.as_str();
    mcp_servers::org_id.eq(org)
}

/// Bindings of integrations that the caller may see, as a member of the Space.
#[auto_type]
pub(super) fn binding<'a>(caller: &'a Caller) -> _ {
    let user: &'a str = caller.user_id.as_str();
    let org: &'a str = caller.org_id.as_str();
    let live = spaces::table
        .filter(spaces::id.eq(space_mcp_servers::space_id))
        .filter(spaces::archived_at.is_null());
    let membership = space_members::table
        .filter(space_members::space_id.eq(space_mcp_servers::space_id))
        .filter(space_members::user_id.eq(user));
    space_mcp_servers::org_id.eq(org).and(exists(live)).and(exists(membership))
}
