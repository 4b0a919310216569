//! `Idempotency-Key`: the first request with a key does the work, and a repetition gets its answer.
//!
//! Claiming the key, the work and the recording of its answer are one transaction: either all of it
//! happened or nothing did, whatever dies in between.
//!
//! An answer is kept with the rights that it takes to see it; they are checked again before it is
//! shown again.

use crate::auth::Caller;
use crate::error::{Error, Result};
pub use crate::store::idempotency::Answer;
use crate::store::idempotency::{self, Claim, Key, Stored};
use crate::store::rights::{Outside, Right};
use crate::store::{Store, Tx};
use sha2::{Digest, Sha256};

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

impl Claimed {
    fn key(&self) -> Key<'_> {
        Key { method: &self.method, path: &self.path, key: &self.key, digest: &self.digest }
    }

    /// Identifies the request, its key and its body to other servers.
    fn reference(&self, caller: &Caller) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [caller.key_id.as_str(), &self.method, &self.path, &self.key] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        digest.chain_update(self.digest).finalize().into()
    }
}

/// The answer of the first request with its key, and what its repetitions get.
pub struct Kept {
    /// For the first request. It may hold a secret, which is shown once and stored nowhere.
    pub shown: Answer,
    /// For those after it.
    pub kept: Answer,
    /// The rights that it takes to be shown [`Kept::kept`].
    pub rights: Vec<Right>,
}

/// How a request was answered.
pub enum Answered {
    /// The work was done now.
    Now(Answer),
    /// The work was done before; this was the answer.
    Before(Answer),
}

/// A request that may have an idempotency key, about to be worked on.
pub struct Once<'a> {
    /// PostgreSQL.
    pub store: &'a Store,
    /// The caller.
    pub caller: &'a Caller,
    /// The key; `None`: nothing is recorded.
    pub claimed: Option<Claimed>,
    /// How a failure is answered.
    pub refusal: fn(&Error) -> Result<Answer>,
}

impl Once<'_> {
    /// Does the work, unless it was done before, and records its answer, good or bad. Everything is
    /// undone when the same request could succeed later.
    ///
    /// 409 when the key was used for another body; 409 with `Retry-After` when its first request is
    /// still running.
    pub async fn run(self, work: impl AsyncFnOnce(&mut Tx) -> Result<Kept>) -> Result<Answered> {
        match self.open().await? {
            Opened::Answered(answer) => Ok(Answered::Before(answer)),
            Opened::First(mut tx) => {
                let outcome = work(&mut tx).await;
                self.settle(*tx, outcome).await
            }
        }
    }

    /// The same where another server must be asked on the way. No transaction is open meanwhile, so
    /// `prepare` must write nothing. What `ask` fails with is not recorded. The same request may be
    /// answered meanwhile: then both must have asked for the same thing, by the reference that
    /// `ask` is given; a request without a key has none.
    pub async fn run_around<Q, A>(
        self,
        prepare: impl AsyncFnOnce(&mut Tx) -> Result<Q>,
        ask: impl AsyncFnOnce(Q, Option<[u8; 32]>) -> Result<A>,
        work: impl AsyncFnOnce(&mut Tx, A) -> Result<Kept>,
    ) -> Result<Answered> {
        let mut tx = match self.open().await? {
            Opened::Answered(answer) => return Ok(Answered::Before(answer)),
            Opened::First(tx) => tx,
        };
        let question = match prepare(&mut tx).await {
            Ok(question) => question,
            Err(error) => return self.settle(*tx, Err(error)).await,
        };
        tx.rollback().await?;
        let reference = self.claimed.as_ref().map(|claimed| claimed.reference(self.caller));
        let answer = ask(question, reference).await?;
        self.run(async |tx| work(tx, answer).await).await
    }

    /// Begins the transaction that the request is answered in, or finds its answer.
    async fn open(&self) -> Result<Opened> {
        let mut tx = self.store.begin(self.caller).await?;
        let Some(claimed) = &self.claimed else { return Ok(Opened::First(Box::new(tx))) };
        match idempotency::claim(&mut tx, claimed.key()).await? {
            Claim::Claimed => {
                tx.savepoint().await?;
                Ok(Opened::First(Box::new(tx)))
            }
            Claim::Replay(stored) => {
                for right in &stored.rights {
                    if let Err(error) = right.check(&mut tx, claimed.outside).await {
                        tx.rollback().await?;
                        return Err(error);
                    }
                }
                tx.commit().await?;
                Ok(Opened::Answered(stored.answer))
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

    async fn settle(&self, mut tx: Tx, outcome: Result<Kept>) -> Result<Answered> {
        let Some(claimed) = &self.claimed else {
            return Ok(Answered::Now(tx.end(outcome).await?.shown));
        };
        let Kept { shown, kept, rights } = match outcome {
            Ok(kept) => kept,
            Err(error) if error.is_deterministic() => {
                tx.undo_to_savepoint().await?;
                let refusal = (self.refusal)(&error)?;
                // it shows nothing but what the same caller was told of their own request
                Kept { shown: refusal.clone(), kept: refusal, rights: vec![Right::Caller] }
            }
            Err(error) => return tx.end(Err(error)).await,
        };
        let stored = Stored { answer: kept, rights };
        idempotency::record(&mut tx, claimed.key(), &stored).await?;
        tx.commit().await?;
        Ok(Answered::Now(shown))
    }
}

enum Opened {
    First(Box<Tx>),
    Answered(Answer),
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

    fn reference(key_id: &KeyId, [method, path, key]: [&str; 3], body: u8) -> [u8; 32] {
        let (method, path, key) = (method.to_owned(), path.to_owned(), key.to_owned());
        let (digest, outside) = ([body; 32], Outside::Forbidden);
        Claimed { method, path, key, digest, outside }.reference(&caller(key_id))
    }

    #[test]
    fn a_waiting_request_is_one_with_its_repetition_and_with_no_other() {
        let (own, foreign) = (KeyId::generate(), KeyId::generate());
        let request = ["POST", "/a", "k"];
        assert_eq!(reference(&own, request, 1), reference(&own, request, 1));
        let others = BTreeSet::from([
            reference(&own, request, 1),
            reference(&foreign, request, 1),
            reference(&own, ["PUT", "/a", "k"], 1),
            reference(&own, ["POST", "/b", "k"], 1),
            reference(&own, ["POST", "/a", "l"], 1),
            reference(&own, request, 2),
            // nor do the parts run into each other
            reference(&own, ["POST", "/ak", ""], 1),
            reference(&own, ["POST/", "a", "k"], 1),
        ]);
        assert_eq!(others.len(), 8);
    }
}
