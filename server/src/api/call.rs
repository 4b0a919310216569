//! What every operation does before and after its own work.

use super::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::http::reply::Documented;
use crate::http::{Check, Dialect, IdempotencyKey, Json, Unread, check_client_version, scope};
use crate::limits::{self, Applicant, Bucket, Seat, Write};
use crate::store::Tx;
use crate::store::ids::OrgId;
use dropshot::{RequestContext, RequestInfo};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A request, as handlers get it.
pub type Ctx = RequestContext<App>;

/// The sender of a request, before the database was asked who that is.
fn applicant(app: &App, request: &RequestInfo, bucket: Bucket) -> Applicant {
    let peer = request.remote_addr().ip();
    let quota = bucket.quota(&app.limits);
    Applicant::new(&app.key_secret, app.limits.failures, request.headers(), peer, quota)
}

/// Whether a caller may go on, as far as the request's head says.
fn check(app: &App, request: &RequestInfo, caller: &Caller, scope: Option<Scope>) -> Result<()> {
    if scope::dialect() == Dialect::SaveSession {
        check_client_version(request.headers(), app.min_client_version.as_ref())?;
    }
    scope.map_or(Ok(()), |scope| caller.require(scope))
}

fn held(seat: Seat) -> Mutex<Option<Seat>> {
    Mutex::new(Some(seat))
}

/// What is read in a transaction.
pub type Work<A, T> = for<'t> fn(&'t mut Tx, &'t A) -> BoxFuture<'t, Result<T>>;

/// A read that is answered in one round trip to the database where that is possible.
///
/// Who calls is only known when the database has said so. But whose the key was when it was used
/// last is known, so the first statement is sent for that one, together with the question; what it
/// yields is thrown away if the answer is another.
pub struct Reading<'a> {
    app: &'a App,
    request: &'a RequestInfo,
    scope: Option<Scope>,
}

impl<'a> Reading<'a> {
    /// Nothing is asked or counted yet. `None`: any key will do.
    pub fn new(ctx: &'a Ctx, scope: impl Into<Option<Scope>>) -> Self {
        Reading { app: ctx.context(), request: &ctx.request, scope: scope.into() }
    }

    /// What the request says, if that is valid. If not, the caller is asked for first: a stranger
    /// does not learn what is.
    pub async fn valid<T>(&self, parsed: Result<T>) -> Result<T> {
        match parsed {
            Ok(value) => Ok(value),
            Err(error) => {
                self.call().await?;
                Err(error)
            }
        }
    }

    /// Who calls, and what `work` has read for him of what was asked. It may run twice.
    pub async fn run<A, T>(self, asked: A, work: Work<A, T>) -> Result<(Call<'a>, T)> {
        let Reading { app, request, scope } = self;
        let applicant = applicant(app, request, Bucket::Read);
        let Some(digest) = applicant.attempt().digest else {
            return Err(self.call().await.err().unwrap_or_else(|| Error::internal("no key")));
        };
        let believed = app.known_keys.get(&digest);
        let believed = believed.filter(|caller| check(app, request, caller, scope).is_ok());
        // who would have to wait for a seat is asked for, and counted, before that
        let seated = believed.and_then(|caller| Some((app.seats.take_now(&caller)?, caller)));
        let call = match seated {
            None => self.call().await?,
            Some((seat, believed)) => {
                let mut tx = app.store.begin_believing(&believed, applicant.attempt()).await?;
                let outcome = work(&mut tx, &asked).await;
                let found = tx.take_found();
                tx.let_go();
                match found {
                    // something went wrong before there was an answer
                    None => {
                        drop(seat);
                        self.call().await?
                    }
                    Some(found) => {
                        let judged = applicant.judge(&found);
                        let caller = judged.inspect_err(|_| app.known_keys.forget(&digest))?;
                        check(app, request, &caller, scope)?;
                        let right = caller == believed;
                        let call = Call { app, request, caller, reads: true, seat: held(seat) };
                        if right {
                            return Ok((call, outcome?));
                        }
                        call
                    }
                }
            }
        };
        app.known_keys.remember(digest, call.caller());
        let mut tx = call.begin().await?;
        let outcome = work(&mut tx, &asked).await;
        let value = call.end(tx, outcome).await?;
        Ok((call, value))
    }

    async fn call(&self) -> Result<Call<'a>> {
        Call::admit(self.app, self.request, Bucket::Read, self.scope).await
    }
}

/// An operation under way: authenticated, counted, allowed by its scope.
pub struct Call<'a> {
    app: &'a App,
    request: &'a RequestInfo,
    caller: Caller,
    /// It changes nothing.
    reads: bool,
    /// Kept until the request has ended, whichever way; none while its body is read.
    seat: Mutex<Option<Seat>>,
}

impl<'a> Call<'a> {
    /// For an operation that changes nothing; where it is asked for often, [`Reading`] does it in one
    /// round trip less. `None`: any key will do.
    pub async fn reading(ctx: &'a Ctx, scope: impl Into<Option<Scope>>) -> Result<Self> {
        Self::admit(ctx.context(), &ctx.request, Bucket::Read, scope.into()).await
    }

    /// For an operation that changes something.
    pub async fn writing(ctx: &'a Ctx, scope: Scope) -> Result<Self> {
        Self::admit(ctx.context(), &ctx.request, Bucket::Write, Some(scope)).await
    }

    async fn admit(
        app: &'a App,
        request: &'a RequestInfo,
        bucket: Bucket,
        scope: Option<Scope>,
    ) -> Result<Self> {
        let caller = applicant(app, request, bucket).admit(&app.store).await?;
        check(app, request, &caller, scope)?;
        let seat = app.seats.take(&caller).await?;
        Ok(Call { app, request, caller, reads: bucket == Bucket::Read, seat: held(seat) })
    }

    /// What handlers work with.
    pub fn app(&self) -> &'a App {
        self.app
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The digest of the key that was used: what tells later whether it may still be used.
    pub fn key_digest(&self) -> Result<[u8; 32]> {
        limits::digest(&self.app.key_secret, self.request.headers())
            .ok_or_else(|| Error::internal("an admitted request has no key"))
    }

    /// Reads the body: not before its sender is known and the request is counted, so that a
    /// stranger's body costs nothing. Whoever sends it slowly has no seat meanwhile, or a few such
    /// bodies would keep all of an organization's.
    pub async fn body<B>(&self, body: Unread<B>) -> Result<Json<B>>
    where
        B: DeserializeOwned + JsonSchema + Check + Send + 'static,
    {
        let given_back = self.seat().take();
        drop(given_back);
        let body = body.read().await;
        let seat = self.app.seats.take(&self.caller).await?;
        *self.seat() = Some(seat);
        Ok(body)
    }

    fn seat(&self) -> MutexGuard<'_, Option<Seat>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction of the caller.
    pub async fn begin(&self) -> Result<Tx> {
        self.app.store.begin(&self.caller).await
    }

    /// Ends the transaction: what failed is undone. What has only been read is answered without
    /// waiting for that.
    pub async fn end<T>(&self, tx: Tx, outcome: Result<T>) -> Result<T> {
        if self.reads {
            tx.let_go();
            return outcome;
        }
        match outcome {
            Ok(value) => {
                tx.commit().await?;
                Ok(value)
            }
            Err(error) => {
                tx.rollback().await?;
                Err(error)
            }
        }
    }

    /// Begins a POST that honours `Idempotency-Key`.
    pub async fn post<B, D: Documented>(
        &self,
        key: IdempotencyKey,
        body: &mut Json<B>,
    ) -> Result<Write<D>> {
        limits::begin(&self.app.store, &self.caller, self.request, key, body).await
    }

    /// The same for a POST without a body, kept under `path`.
    pub async fn post_bodiless<D: Documented>(
        &self,
        key: IdempotencyKey,
        path: &str,
    ) -> Result<Write<D>> {
        let method = self.request.method();
        limits::begin_bodiless(&self.app.store, &self.caller, method, path, key).await
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
