//! For whom a call is made (contract B9).
//!
//! A key acts as the user who minted it. With the header and the scope `act_on_behalf`, a call is
//! made for a member of the key's organization instead: everything then runs as that member, in the
//! queries and under row-level security. Without the header, PRIVATE notes are closed, for reading
//! and for writing, and nothing can be posted: a key in a shared configuration file does not know
//! who sits before it.

use super::refusal::Refusal;
use crate::auth::{Caller, OrgRole, PrivateNotes, Scope};
use crate::error::Error;
use crate::http::scope;
use crate::store::Store;
use crate::store::authentication::role_of_actor;
use http::HeaderMap;

/// Names the member for whom a call is made, by user id.
pub const ACTOR_HEADER: &str = "X-Switchy-Actor-User-Id";

const NOT_A_MEMBER: &str =
    "X-Switchy-Actor-User-Id does not name a member of the key's organization";

/// The caller as whom the call is made.
pub async fn resolve(
    store: &Store,
    headers: &HeaderMap,
    caller: Caller,
) -> Result<Caller, Refusal> {
    let mut values = headers.get_all(ACTOR_HEADER).iter();
    let actor = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().unwrap_or("?").trim()),
        _ => {
            let path = ["headers", ACTOR_HEADER];
            return Err(Error::invalid(path, "duplicate", "must be sent only once").into());
        }
    };
    // a client's configuration may well have a blank there
    let Some(actor) = actor.filter(|actor| !actor.is_empty()) else {
        return Ok(Caller { private_notes: PrivateNotes::Closed, ..caller });
    };
    if !caller.scopes.allow(Scope::ActOnBehalf) {
        return Err(Refusal::Scope(Scope::ActOnBehalf));
    }
    let actor = actor.parse().map_err(|_| Refusal::ActorForbidden(NOT_A_MEMBER))?;
    // a key cannot do what its user may not; speaking for others is a matter of running the org
    if actor != caller.user_id && caller.role == OrgRole::Member {
        return Err(Refusal::ActorForbidden(
            "only keys of the organization's OWNERs and ADMINs may act for other members",
        ));
    }
    let role = role_of_actor(store, &caller.key_id, &actor)
        .await?
        .ok_or(Refusal::ActorForbidden(NOT_A_MEMBER))?;
    scope::set_actor(actor.as_str());
    Ok(Caller {
        on_behalf: actor != caller.user_id,
        private_notes: PrivateNotes::Open,
        user_id: actor,
        role,
        ..caller
    })
}
