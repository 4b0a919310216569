//! For whom a call is made (contract B9, E7).
//!
//! A key acts as the user who minted it. With the header and the scope `act_on_behalf`, a call is
//! made for a member of the key's organization instead: everything then runs as that member, in the
//! queries and under row-level security. An OWNER's key acts for everybody, an ADMIN's for ADMINs
//! and MEMBERs, a MEMBER's for that MEMBER alone; the database decides it. What is another member's
//! alone (PRIVATE notes, private sessions) stays closed until they have consented to the key.
//!
//! Without the header, PRIVATE notes are closed, for reading and for writing, and nothing can be
//! posted: a key in a shared configuration file does not know who sits before it.

use super::error::CallError;
use crate::auth::{Caller, PrivateNotes, Scope};
use crate::error::Error;
use crate::http::request_state;
use crate::store::Store;
use crate::store::authentication::{Actor, actor_of_key};
use http::HeaderMap;

/// Names the member for whom a call is made, by user id.
pub const ACTOR_HEADER: &str = "X-Switchy-Actor-User-Id";

/// One sentence for all of them: it tells nothing of who is a member, and as what.
const FORBIDDEN: &str = "X-Switchy-Actor-User-Id must name the key's own user, or, with the key of \
                         an OWNER or ADMIN, a member of the organization of no higher role";

/// The caller as whom the call is made.
pub async fn resolve(
    store: &Store,
    headers: &HeaderMap,
    caller: Caller,
) -> Result<Caller, CallError> {
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
        return Err(CallError::Scope(Scope::ActOnBehalf));
    }
    let actor = actor.parse().map_err(|_| CallError::ActorForbidden(FORBIDDEN))?;
    let Actor { role, consents } = actor_of_key(store, &caller.key_id, &actor)
        .await?
        .ok_or(CallError::ActorForbidden(FORBIDDEN))?;
    request_state::set_actor(actor.as_str());
    Ok(Caller {
        on_behalf: actor != caller.user_id,
        private_notes: if consents { PrivateNotes::Open } else { PrivateNotes::Withheld },
        user_id: actor,
        role,
        ..caller
    })
}
