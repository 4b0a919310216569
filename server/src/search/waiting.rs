//! Callers who were told that too many of their notes wait to be embedded.

use crate::auth::Caller;
use crate::error::{Error, RETRY_AFTER_BACKLOG};
use crate::store::ids::{OrgId, UserId};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Their refusals, until they may come back: whatever they send before that is refused before it is
/// embedded. The database alone says no at first, and knows of every server; this spares it, and the
/// model, what would come to nothing.
#[derive(Default)]
pub struct Refused(Mutex<HashMap<(OrgId, UserId), (Instant, String)>>);

impl Refused {
    fn lock(&self) -> MutexGuard<'_, HashMap<(OrgId, UserId), (Instant, String)>> {
        // what a panic has left half-done would only be forgotten too early
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses the caller as before, while that holds.
    pub fn check(&self, caller: &Caller) -> Result<(), Error> {
        let key = (caller.org_id.clone(), caller.user_id.clone());
        let now = Instant::now();
        match self.lock().get(&key) {
            Some((until, message)) if *until > now => Err(Error::Backlogged {
                message: message.clone().into(),
                retry_after: u32::try_from((*until - now).as_secs() + 1)
                    .unwrap_or(RETRY_AFTER_BACKLOG),
            }),
            _ => Ok(()),
        }
    }

    /// Remembers how the caller is refused.
    pub fn note(&self, caller: &Caller, error: &Error) {
        let Error::Backlogged { message, retry_after } = error else { return };
        let now = Instant::now();
        let until = now + Duration::from_secs((*retry_after).into());
        let mut refused = self.lock();
        // whoever may come back need not be remembered
        refused.retain(|_, (until, _)| *until > now);
        let key = (caller.org_id.clone(), caller.user_id.clone());
        refused.insert(key, (until, message.clone().into_owned()));
    }
}
