//! What every operation does before and after its own work.
//!
//! Three verbs run it in a transaction of the caller: [`Reading::read`], [`Call::write`], and
//! [`Call::create`] for a POST with an `Idempotency-Key`. What must happen before the transaction
//! stands before the verb in a handler, and what must happen after it behind the verb.

use super::{App, Reading};
use crate::auth::{Caller, Scope, presented_key};
use crate::error::{Error, Result};
use crate::http::reply::{Documented, Recorded, Rendered, Reply};
use crate::http::{
    Check, Dialect, IdempotencyKey, Json, Unread, check_client_version, peer, request_state,
};
use crate::limits::{self, Admission, Answer, Answered, AuthAttempt, Bucket, Claimed, Once, Seat};
use crate::store::Tx;
use crate::store::ids::{KeyId, OrgId};
use crate::store::rights::{Outside, Right};
use dropshot::{RequestContext, RequestInfo};
use http::StatusCode;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// A request, as handlers get it.
pub type Ctx = RequestContext<App>;

/// The attempt of a request to authenticate, before the database was asked.
pub(super) fn attempt(app: &App, request: &RequestInfo, bucket: Bucket) -> AuthAttempt {
    let key = presented_key(request.headers(), request_state::dialect().key_header());
    let address = peer::counted(request.remote_addr().ip());
    AuthAttempt::new(&app.key_secret, app.limits.failures, key, address, bucket.quota(&app.limits))
}

/// Notes an admission with the request's state; returns the caller.
pub(super) fn admitted(admission: Admission) -> Result<Caller> {
    request_state::admitted(admission.key_id.as_ref().map(KeyId::as_str), &admission.headers);
    admission.caller
}

/// Whether a caller may go on, as far as the request's head says.
pub(super) fn check(
    app: &App,
    request: &RequestInfo,
    caller: &Caller,
    scope: Option<Scope>,
) -> Result<()> {
    if request_state::dialect() == Dialect::SaveSession {
        check_client_version(request.headers(), app.min_client_version.as_ref())?;
    }
    scope.map_or(Ok(()), |scope| caller.require(scope))
}

/// An operation under way: authenticated, counted, allowed by its scope.
pub struct Call<'a> {
    pub(super) app: &'a App,
    pub(super) request: &'a RequestInfo,
    pub(super) digest: [u8; 32],
    pub(super) caller: Caller,
    /// Kept until the request has ended, whichever way; none while its body is read.
    pub(super) seat: Option<Seat>,
}

impl<'a> Call<'a> {
    /// An operation that changes nothing; nothing is asked or counted yet. `None`: any key will do.
    pub fn reading(ctx: &'a Ctx, scope: impl Into<Option<Scope>>) -> Reading<'a> {
        Reading::new(ctx.context(), &ctx.request, scope.into())
    }

    /// An operation that changes something.
    pub async fn writing(ctx: &'a Ctx, scope: Scope) -> Result<Self> {
        Self::admit(ctx.context(), &ctx.request, Bucket::Write, Some(scope)).await
    }

    pub(super) async fn admit(
        app: &'a App,
        request: &'a RequestInfo,
        bucket: Bucket,
        scope: Option<Scope>,
    ) -> Result<Self> {
        let attempt = attempt(app, request, bucket);
        let digest = attempt.attempt().digest;
        let caller = admitted(attempt.authenticate(&app.store).await?)?;
        let digest = digest.ok_or_else(|| Error::internal("an admitted request has no key"))?;
        check(app, request, &caller, scope)?;
        let seat = app.seats.take(&caller).await?;
        Ok(Call { app, request, digest, caller, seat: Some(seat) })
    }

    /// The state that all handlers share.
    pub fn app(&self) -> &'a App {
        self.app
    }

    /// The caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The digest of the key that was used: what tells later whether it may still be used.
    pub fn key_digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Reads the body: not before its sender is known and the request is counted, so that a
    /// stranger's body costs nothing. Whoever sends it slowly has no seat meanwhile, or a few such
    /// bodies would keep all of an organization's.
    pub async fn body<B>(&mut self, body: Unread<B>) -> Result<Json<B>>
    where
        B: DeserializeOwned + JsonSchema + Check + Send + 'static,
    {
        self.seat = None;
        let body = body.read().await;
        self.seat = Some(self.app.seats.take(&self.caller).await?);
        Ok(body)
    }

    /// A transaction of the caller.
    pub(super) async fn begin(&self) -> Result<Tx> {
        self.app.store.begin(&self.caller).await
    }

    /// Runs `work` in a transaction, which is undone if it fails.
    pub async fn write<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        let mut tx = self.begin().await?;
        let outcome = work(&mut tx).await;
        tx.end(outcome).await
    }

    /// Runs `work` as [`Call::write`] does, once for each `Idempotency-Key`: the key is claimed and
    /// the answer kept in the same transaction, and a repetition is shown what was kept. `work` gets
    /// an acceptable body; what is wrong with one is an answer like others.
    pub async fn create<B, D, E>(
        &self,
        key: IdempotencyKey,
        body: Json<B>,
        work: impl AsyncFnOnce(&mut Tx, B) -> Result<Kept<D>>,
    ) -> Result<Reply<D>, E>
    where
        D: Documented,
        E: From<Error>,
    {
        let (once, body) = self.once(key, body)?;
        let answered = once.run(async |tx| work(tx, body?).await.map(limits::Kept::from)).await?;
        Ok(reply(answered)?)
    }

    /// The same where another server must be asked on the way, without a transaction: `prepare`
    /// reads what to ask for, and `ask` is also given what identifies the request (nothing without
    /// an `Idempotency-Key`).
    pub async fn create_around<B, Q, A, D, E>(
        &self,
        key: IdempotencyKey,
        body: Json<B>,
        prepare: impl AsyncFnOnce(&mut Tx, B) -> Result<Q>,
        ask: impl AsyncFnOnce(Q, Option<[u8; 32]>) -> Result<A>,
        work: impl AsyncFnOnce(&mut Tx, A) -> Result<Kept<D>>,
    ) -> Result<Reply<D>, E>
    where
        D: Documented,
        E: From<Error>,
    {
        let (once, body) = self.once(key, body)?;
        let prepare = async |tx: &mut Tx| prepare(tx, body?).await;
        let work = async |tx: &mut Tx, answer| work(tx, answer).await.map(limits::Kept::from);
        Ok(reply(once.run_around(prepare, ask, work).await?)?)
    }

    /// The request as one that is carried out once, and its body.
    fn once<B>(&self, key: IdempotencyKey, body: Json<B>) -> Result<(Once<'_>, Result<B>)> {
        let digest = body.digest();
        let IdempotencyKey { key, kept_under } = key;
        let key = key?;
        let body = match body.into_inner() {
            // nothing is recorded without a key, nor what another attempt may repair: such a body
            // need not even reach the database
            Err(error) if key.is_none() || !error.is_deterministic() => return Err(error),
            body => body,
        };
        let claimed = key.map(|key| Claimed {
            method: self.request.method().to_string(),
            path: kept_under.unwrap_or_else(|| self.request.uri().path().to_owned()),
            key,
            digest,
            outside: Outside::Forbidden,
        });
        let refusal = |error: &Error| Recorded::failure(error).map(Answer::from);
        Ok((Once { store: &self.app.store, caller: &self.caller, claimed, refusal }, body))
    }

    /// Checks the organization that a path names: 404 for what is no id, 403 for any but the key's
    /// own, whether it exists or not (contract A4).
    pub fn in_org(&self, org: &str) -> Result<()> {
        let org: OrgId = org.parse().map_err(|_| Error::not_found("organization"))?;
        if org == self.caller.org_id {
            return Ok(());
        }
        Err(Error::forbidden("this key is for another organization"))
    }
}

/// An answer of [`Call::create`], and the rights that it takes to be shown it again.
pub struct Kept<D> {
    shown: Recorded,
    kept: Recorded,
    rights: Vec<Right>,
    documented: PhantomData<fn() -> D>,
}

impl<D: Rendered> Kept<D> {
    /// Shown again to those who still have the right.
    pub fn new(data: &D::Data, right: Right) -> Result<Self> {
        Self::for_all(data, vec![right])
    }

    /// Shown again to those who still have all of the rights.
    pub fn for_all(data: &D::Data, rights: Vec<Right>) -> Result<Self> {
        let shown = D::recorded(data)?;
        Ok(Kept { kept: shown.clone(), shown, rights, documented: PhantomData })
    }

    /// With a secret, which is shown once and stored nowhere: `kept` is the same without it.
    pub fn with_secret(shown: &D::Data, kept: &D::Data, right: Right) -> Result<Self> {
        let (shown, kept) = (D::recorded(shown)?, D::recorded(kept)?);
        Ok(Kept { shown, kept, rights: vec![right], documented: PhantomData })
    }

    /// The same for a resource that was created there.
    pub fn at(mut self, location: String) -> Self {
        self.kept.location = Some(location.clone());
        self.shown.location = Some(location);
        self
    }
}

impl<D> From<Kept<D>> for limits::Kept {
    fn from(Kept { shown, kept, rights, .. }: Kept<D>) -> Self {
        limits::Kept { shown: shown.into(), kept: kept.into(), rights }
    }
}

impl From<Recorded> for Answer {
    fn from(Recorded { status, body, location }: Recorded) -> Self {
        Answer { status: status.as_u16(), body, location }
    }
}

impl TryFrom<Answer> for Recorded {
    type Error = Error;
    fn try_from(Answer { status, body, location }: Answer) -> Result<Self> {
        let status = StatusCode::from_u16(status).map_err(Error::internal)?;
        Ok(Recorded { status, body, location })
    }
}

fn reply<D: Documented>(answered: Answered) -> Result<Reply<D>> {
    let answer = match answered {
        Answered::Now(answer) => answer,
        Answered::Before(answer) => {
            request_state::mark_replayed();
            answer
        }
    };
    Ok(Reply::from_recorded(answer.try_into()?))
}
