//! `Idempotency-Key`: the first request wins, the others are told what it was told (contract A5).
//!
//! Claiming the key, the work and the recording of its answer are one transaction: either all of it
//! happened or nothing did, whatever dies in between.
//!
//! An answer is kept with the rights that it takes to see it; they are checked again before it is
//! shown again.

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::http::reply::{Answer, Documented, Recorded, Reply};
use crate::http::{IdempotencyKey, Json, scope};
use crate::store::idempotency::{self, Claim, Key, Stored};
use crate::store::rights::{Outside, Right};
use crate::store::{Store, Tx};
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

/// A writing request, claimed or answered already.
pub enum Write<D> {
    /// Do the work, then [`First::finish`].
    First(Box<First>),
    /// It was done before; this is what was answered.
    Replay(Reply<D>),
}

/// The first request with its key, or one without a key.
pub struct First {
    /// The work's transaction.
    pub tx: Tx,
    claimed: Option<Claimed>,
}

/// What an idempotency key is claimed for.
pub struct Claimed {
    /// The HTTP method, or what stands for it.
    pub method: String,
    /// The path, without the query, or what stands for it.
    pub path: String,
    /// The client's key: 1 to 255 visible ASCII characters.
    pub key: String,
    /// SHA-256 of everything that makes the request what it is.
    pub digest: [u8; 32],
    /// The answer for those who are not in the Space any more.
    pub outside: Outside,
}

/// A part of a response, claimed or answered already.
pub enum Part {
    /// Do the work, then [`First::settle`].
    First(Box<First>),
    /// It was done before; this is what was answered.
    Replay(Recorded),
}

impl Claimed {
    fn of(request: &dropshot::RequestInfo, key: String, digest: [u8; 32]) -> Self {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        Claimed { method, path, key, digest, outside: Outside::Forbidden }
    }

    fn key(&self) -> Key<'_> {
        Key { method: &self.method, path: &self.path, key: &self.key, digest: &self.digest }
    }
}

/// Begins the work of a POST.
///
/// 409 when the key was used for another body; 409 with `Retry-After` when its first request is
/// still running.
pub async fn begin<B, D: Documented>(
    store: &Store,
    caller: &Caller,
    request: &dropshot::RequestInfo,
    key: IdempotencyKey,
    body: &mut Json<B>,
) -> Result<Write<D>> {
    let key = key.into_inner()?;
    match &key {
        // without a key nothing is recorded: a bad body need not even reach the database
        None => body.take_error()?,
        Some(_) => body.take_fleeting_error()?,
    }
    let claimed = key.map(|key| Claimed::of(request, key, body.digest()));
    claim(store, caller, claimed).await
}

/// The same for a POST that has no body. `path` is what the answer is kept under: the request's own
/// may hold what must not be stored.
pub async fn begin_bodiless<D: Documented>(
    store: &Store,
    caller: &Caller,
    method: &http::Method,
    path: &str,
    key: IdempotencyKey,
) -> Result<Write<D>> {
    let claimed = key.into_inner()?.map(|key| Claimed {
        method: method.to_string(),
        path: path.to_owned(),
        key,
        digest: [0; 32],
        outside: Outside::Forbidden,
    });
    claim(store, caller, claimed).await
}

/// Begins the transaction that the request with this key is answered in.
async fn claim<D: Documented>(
    store: &Store,
    caller: &Caller,
    claimed: Option<Claimed>,
) -> Result<Write<D>> {
    Ok(match begin_part(store, caller, claimed).await? {
        Part::First(first) => Write::First(first),
        Part::Replay(recorded) => Write::Replay(Reply::from_recorded(recorded)),
    })
}

/// As [`begin`], for what is only a part of a response; `None` when it brings no idempotency key.
pub async fn begin_part(store: &Store, caller: &Caller, claimed: Option<Claimed>) -> Result<Part> {
    let mut tx = store.begin(caller).await?;
    let Some(claimed) = claimed else {
        return Ok(Part::First(Box::new(First { tx, claimed: None })));
    };
    let claim = idempotency::claim(&mut tx, claimed.key()).await?;
    match claim {
        Claim::Claimed => {
            tx.savepoint().await?;
            Ok(Part::First(Box::new(First { tx, claimed: Some(claimed) })))
        }
        Claim::Replay(stored) => {
            for right in &stored.rights {
                if let Err(error) = right.check(&mut tx, claimed.outside).await {
                    tx.rollback().await?;
                    return Err(error);
                }
            }
            tx.commit().await?;
            scope::set_header(
                HeaderName::from_static("idempotency-replayed"),
                HeaderValue::from_static("true"),
            );
            let status = StatusCode::from_u16(stored.status).map_err(Error::internal)?;
            Ok(Part::Replay(Recorded { status, body: stored.body, location: stored.location }))
        }
        Claim::Mismatch => {
            tx.rollback().await?;
            Err(Error::conflict("this Idempotency-Key was used for a different request body"))
        }
        Claim::Running => {
            tx.rollback().await?;
            Err(Error::Conflict {
                message: "the first request with this Idempotency-Key is still running".into(),
                retry_after: Some(1),
            })
        }
    }
}

/// An answer, and what it takes to be shown it again.
pub struct Kept {
    answer: Recorded,
    rights: Vec<Right>,
}

impl Recorded {
    /// Shown again to those who still have the right.
    pub fn kept_for(self, right: Right) -> Kept {
        self.kept_for_all(vec![right])
    }

    /// Shown again to those who still have all of the rights.
    pub fn kept_for_all(self, rights: Vec<Right>) -> Kept {
        Kept { answer: self, rights }
    }
}

/// The answer to a request that made a secret, which is shown once and stored nowhere.
pub struct WithSecret {
    /// For the first request: with the secret.
    pub shown: Recorded,
    /// For those after it: the same, without the secret.
    pub kept: Kept,
}

/// Work that waits for somebody else, without a transaction: see [`First::pause`].
pub struct Paused {
    caller: Caller,
    claimed: Option<Claimed>,
}

impl Paused {
    /// What identifies the request, its user and its body; `None` when it has no key, and so is
    /// like no other.
    pub fn digest(&self) -> Option<[u8; 32]> {
        let claimed = self.claimed.as_ref()?;
        let mut digest = Sha256::new();
        let parts = [self.caller.key_id.as_str(), &claimed.method, &claimed.path, &claimed.key];
        for part in parts {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        Some(digest.chain_update(claimed.digest).finalize().into())
    }

    /// Goes on in another transaction. The same request may have been answered meanwhile: then what
    /// was done in between must have been done once for both, by [`Paused::digest`].
    pub async fn resume<D: Documented>(self, store: &Store) -> Result<Write<D>> {
        claim(store, &self.caller, self.claimed).await
    }
}

impl First {
    /// Ends the transaction without an answer, so that no connection is held while somebody else
    /// is asked. Only for what has written nothing yet.
    pub async fn pause(self) -> Result<Paused> {
        let caller = self.tx.caller().clone();
        self.tx.rollback().await?;
        Ok(Paused { caller, claimed: self.claimed })
    }

    /// Ends the work: records its answer, good or bad, and makes it durable; or undoes everything
    /// when the same request could succeed later.
    pub async fn finish<D: Documented>(self, outcome: Result<Kept>) -> Answer<D> {
        Ok(Reply::from_recorded(self.settle(outcome).await?))
    }

    /// As [`First::finish`], for an answer that is only a part of the response.
    pub async fn settle(self, outcome: Result<Kept>) -> Result<Recorded> {
        let outcome = outcome.map(|kept| WithSecret { shown: kept.answer.clone(), kept });
        self.end(outcome).await
    }

    /// As [`First::finish`], for an answer with a secret in it: a replay shows what is kept
    /// (contract A5).
    pub async fn finish_with_secret<D: Documented>(self, outcome: Result<WithSecret>) -> Answer<D> {
        Ok(Reply::from_recorded(self.end(outcome).await?))
    }

    async fn end(mut self, outcome: Result<WithSecret>) -> Result<Recorded> {
        let Some(claimed) = &self.claimed else {
            return match outcome {
                Ok(answer) => {
                    self.tx.commit().await?;
                    Ok(answer.shown)
                }
                Err(error) => {
                    self.tx.rollback().await?;
                    Err(error)
                }
            };
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) if error.is_deterministic() => {
                self.tx.undo_to_savepoint().await?;
                let refusal = Recorded::failure(&error)?;
                // it shows nothing but what the same caller was told of their own request
                WithSecret { kept: refusal.clone().kept_for(Right::Caller), shown: refusal }
            }
            Err(error) => {
                self.tx.rollback().await?;
                return Err(error);
            }
        };
        let Kept { answer: kept, rights } = answer.kept;
        let stored = Stored {
            status: kept.status.as_u16(),
            body: kept.body,
            location: kept.location,
            rights,
        };
        idempotency::record(&mut self.tx, claimed.key(), &stored).await?;
        self.tx.commit().await?;
        Ok(answer.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{OrgRole, PrivateNotes, Scopes};
    use crate::store::ids::{KeyId, OrgId, UserId};
    use std::collections::BTreeSet;

    fn caller(key_id: &KeyId) -> Caller {
        Caller {
            key_id: key_id.clone(),
            user_id: UserId::generate(),
            org_id: OrgId::generate(),
            role: OrgRole::Member,
            scopes: Scopes::all_rest(),
            private_notes: PrivateNotes::Open,
            on_behalf: false,
        }
    }

    fn digest(key_id: &KeyId, [method, path, key]: [&str; 3], body: u8) -> Option<[u8; 32]> {
        let (method, path, key) = (method.to_owned(), path.to_owned(), key.to_owned());
        let (digest, outside) = ([body; 32], Outside::Forbidden);
        let claimed = Some(Claimed { method, path, key, digest, outside });
        Paused { caller: caller(key_id), claimed }.digest()
    }

    #[test]
    fn a_waiting_request_is_one_with_its_repetition_and_with_no_other() {
        let (own, foreign) = (KeyId::generate(), KeyId::generate());
        let request = ["POST", "/a", "k"];
        assert!(digest(&own, request, 1).is_some());
        assert_eq!(digest(&own, request, 1), digest(&own, request, 1));
        let others = BTreeSet::from([
            digest(&own, request, 1),
            digest(&foreign, request, 1),
            digest(&own, ["PUT", "/a", "k"], 1),
            digest(&own, ["POST", "/b", "k"], 1),
            digest(&own, ["POST", "/a", "l"], 1),
            digest(&own, request, 2),
            // nor do the parts run into each other
            digest(&own, ["POST", "/ak", ""], 1),
            digest(&own, ["POST/", "a", "k"], 1),
        ]);
        assert_eq!(others.len(), 8);
    }

    #[test]
    fn a_waiting_request_without_a_key_is_like_no_other() {
        let paused = Paused { caller: caller(&KeyId::generate()), claimed: None };
        assert_eq!(paused.digest(), None);
    }
}
