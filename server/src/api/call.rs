//! What every operation does before and after its own work.

use super::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::http::reply::Documented;
use crate::http::{Dialect, IdempotencyKey, Json, check_client_version, scope};
use crate::limits::{self, Bucket, Write};
use crate::store::Tx;
use crate::store::ids::OrgId;
use dropshot::RequestContext;

/// A request, as handlers get it.
pub type Ctx = RequestContext<App>;

/// An operation under way: authenticated, counted, allowed by its scope.
pub struct Call<'a> {
    app: &'a App,
    request: &'a dropshot::RequestInfo,
    caller: Caller,
    /// It changes nothing.
    reads: bool,
}

impl<'a> Call<'a> {
    /// For an operation that changes nothing. `None`: any key will do.
    pub async fn reading(ctx: &'a Ctx, scope: impl Into<Option<Scope>>) -> Result<Self> {
        Self::begin_as(ctx, Bucket::Read, scope.into()).await
    }

    /// For an operation that changes something.
    pub async fn writing(ctx: &'a Ctx, scope: Scope) -> Result<Self> {
        Self::begin_as(ctx, Bucket::Write, Some(scope)).await
    }

    async fn begin_as(ctx: &'a Ctx, bucket: Bucket, scope: Option<Scope>) -> Result<Self> {
        let app = ctx.context();
        let request = &ctx.request;
        let caller = limits::admit(
            &app.store,
            &app.key_secret,
            &app.limits,
            request.headers(),
            request.remote_addr().ip(),
            bucket,
        )
        .await?;
        if scope::dialect() == Dialect::SaveSession {
            check_client_version(request.headers(), app.min_client_version.as_ref())?;
        }
        if let Some(scope) = scope {
            caller.require(scope)?;
        }
        Ok(Call { app, request, caller, reads: bucket == Bucket::Read })
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
