//! `Idempotency-Key`: the first request wins, the others are told what it was told (contract A5).
//!
//! Claiming the key, the work and the recording of its answer are one transaction: either all of it
//! happened or nothing did, whatever dies in between.

use crate::error::{Error, Result};
use crate::http::reply::{Answer, Documented, Recorded, Reply};
use crate::http::{Failure, IdempotencyKey, Json, scope};
use crate::store::idempotency::{self, Claim, Key, Stored};
use crate::store::{Store, Tx};
use http::{HeaderName, HeaderValue, StatusCode};

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

struct Claimed {
    method: String,
    path: String,
    key: String,
    digest: [u8; 32],
}

impl Claimed {
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
    caller: &crate::auth::Caller,
    request: &dropshot::RequestInfo,
    key: IdempotencyKey,
    body: &mut Json<B>,
) -> Result<Write<D>> {
    let key = key.into_inner()?;
    let Some(key) = key else {
        // without a key nothing is recorded: a bad body need not even reach the database
        body.take_error()?;
        let tx = store.begin(caller).await?;
        return Ok(Write::First(Box::new(First { tx, claimed: None })));
    };
    body.take_fleeting_error()?;
    claim(store, caller, request, key, body.digest()).await
}

/// The same for a POST that takes no body.
pub async fn begin_without_body<D: Documented>(
    store: &Store,
    caller: &crate::auth::Caller,
    request: &dropshot::RequestInfo,
    key: IdempotencyKey,
) -> Result<Write<D>> {
    match key.into_inner()? {
        Some(key) => claim(store, caller, request, key, [0; 32]).await,
        None => Ok(Write::First(Box::new(First { tx: store.begin(caller).await?, claimed: None }))),
    }
}

async fn claim<D: Documented>(
    store: &Store,
    caller: &crate::auth::Caller,
    request: &dropshot::RequestInfo,
    key: String,
    digest: [u8; 32],
) -> Result<Write<D>> {
    let claimed = Claimed {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        key,
        digest,
    };
    let mut tx = store.begin(caller).await?;
    let claim = idempotency::claim(&mut tx, claimed.key()).await?;
    match claim {
        Claim::Claimed => {
            tx.savepoint().await?;
            Ok(Write::First(Box::new(First { tx, claimed: Some(claimed) })))
        }
        Claim::Replay(stored) => {
            tx.commit().await?;
            scope::set_header(
                HeaderName::from_static("idempotency-replayed"),
                HeaderValue::from_static("true"),
            );
            let status = StatusCode::from_u16(stored.status).map_err(Error::internal)?;
            Ok(Write::Replay(Reply::from_recorded(Recorded {
                status,
                body: stored.body,
                location: stored.location,
            })))
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

impl First {
    /// Ends the work: records its answer, good or bad, and makes it durable; or undoes everything
    /// when the same request could succeed later.
    pub async fn finish<D: Documented>(mut self, outcome: Result<Recorded>) -> Answer<D> {
        let Some(claimed) = &self.claimed else {
            return match outcome {
                Ok(recorded) => {
                    self.tx.commit().await?;
                    Ok(Reply::from_recorded(recorded))
                }
                Err(error) => {
                    self.tx.rollback().await?;
                    Err(Failure(error))
                }
            };
        };
        let recorded = match outcome {
            Ok(recorded) => recorded,
            Err(error) if error.is_deterministic() => {
                self.tx.undo_to_savepoint().await?;
                Recorded::failure(&error)?
            }
            Err(error) => {
                self.tx.rollback().await?;
                return Err(Failure(error));
            }
        };
        let stored = Stored {
            status: recorded.status.as_u16(),
            body: recorded.body.clone(),
            location: recorded.location.clone(),
        };
        idempotency::record(&mut self.tx, claimed.key(), &stored).await?;
        self.tx.commit().await?;
        Ok(Reply::from_recorded(recorded))
    }
}
