//! Authentication and rate limit, in one round trip (contract A2, A6, E2).

use crate::auth::{ApiKey, Caller, KeySecret, PrivateNotes, Scopes};
use crate::error::{Error, Result};
use crate::http::{Dialect, scope};
use crate::store::Store;
use crate::store::authentication::{Attempt, Outcome, authenticate};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::IpAddr;

/// What a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Requests that change nothing.
    Read,
    /// All others.
    Write,
}

impl Bucket {
    fn as_str(self) -> &'static str {
        match self {
            Bucket::Read => "read",
            Bucket::Write => "write",
        }
    }
}

/// Requests in any 60 seconds; 0 means unlimited.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Reads of one key.
    pub reads: u32,
    /// Writes of one key.
    pub writes: u32,
    /// Requests without a valid key from one address.
    pub failures: u32,
}

/// What a request is counted against, and how many of its kind a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The name under which it is counted, each key by itself.
    pub bucket: &'static str,
    /// Requests in any 60 seconds; 0 means unlimited.
    pub limit: u32,
}

const FOREIGN: &str = "this is not an API key: it is mistyped, truncated or foreign";

/// The key that the request carries; why there is none otherwise.
fn presented_key(headers: &HeaderMap) -> Result<ApiKey> {
    let bearer = bearer(headers);
    // Only the Save Session dialect has a second header. A bearer token goes before it; a proxy's
    // own kind of `Authorization` does not.
    if bearer.is_ok() || scope::dialect() != Dialect::SaveSession {
        return bearer;
    }
    match headers.get("x-api-key").map(|value| value.to_str().unwrap_or_default()) {
        Some(key) => ApiKey::parse(key.trim()).map_err(|_| Error::Unauthenticated(FOREIGN.into())),
        None => bearer,
    }
}

/// The key in `Authorization`.
fn bearer(headers: &HeaderMap) -> Result<ApiKey> {
    let refused = |message: &'static str| Error::Unauthenticated(message.into());
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| refused("send an API key as `Authorization: Bearer sk_live_…`"))?;
    let text = value.to_str().unwrap_or_default();
    let (scheme, key) = text.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused("the Authorization header must read `Bearer sk_live_…`"));
    }
    ApiKey::parse(key.trim()).map_err(|_| refused(FOREIGN))
}

/// The digest of the key that the request carries, if it carries any.
pub fn digest(secret: &KeySecret, headers: &HeaderMap) -> Option<[u8; 32]> {
    presented_key(headers).ok().map(|key| secret.digest(&key))
}

/// Turns the request's key into its caller and counts the request.
///
/// 401 without a valid key, 429 when the key's limit (or, without a valid key, the address's) is
/// spent. Puts the `RateLimit-*` headers on the answer, whatever it will be.
pub async fn admit(
    store: &Store,
    secret: &KeySecret,
    limits: &Limits,
    headers: &HeaderMap,
    peer: IpAddr,
    bucket: Bucket,
) -> Result<Caller> {
    let limit = match bucket {
        Bucket::Read => limits.reads,
        Bucket::Write => limits.writes,
    };
    let quota = Quota { bucket: bucket.as_str(), limit };
    admit_to(store, secret, limits.failures, headers, peer, quota).await
}

/// As [`admit`], counting against a quota of its own instead of the reads or writes. `failures` is
/// [`Limits::failures`].
pub async fn admit_to(
    store: &Store,
    secret: &KeySecret,
    failures: u32,
    headers: &HeaderMap,
    peer: IpAddr,
    Quota { bucket, limit }: Quota,
) -> Result<Caller> {
    let key = presented_key(headers);
    let digest = key.as_ref().ok().map(|key| secret.digest(key));
    let address = peer.to_canonical().to_string();
    let attempt = Attempt {
        digest: digest.as_ref(),
        address: &address,
        bucket,
        limit,
        failure_limit: failures,
    };
    let outcome = authenticate(store, &attempt).await?;
    let caller = caller(&outcome)?;
    match (caller, key) {
        (Some(caller), Ok(_)) => {
            scope::set_caller(caller.key_id.as_str());
            announce(&outcome, limit);
            check(&outcome, limit)?;
            Ok(caller)
        }
        (_, key) => {
            check(&outcome, failures)?;
            Err(key.err().unwrap_or(Error::Unauthenticated(
                "this API key is unknown, revoked or expired, or its user has left the \
                 organization"
                    .into(),
            )))
        }
    }
}

/// Counts a request that proves itself by other means than a key, and has failed to: 429 when the
/// address's limit is spent.
pub async fn count_failure(store: &Store, limits: &Limits, peer: IpAddr) -> Result<()> {
    let address = peer.to_canonical().to_string();
    let attempt = Attempt {
        digest: None,
        address: &address,
        bucket: Bucket::Write.as_str(),
        limit: limits.writes,
        failure_limit: limits.failures,
    };
    check(&authenticate(store, &attempt).await?, limits.failures)
}

fn caller(outcome: &Outcome) -> Result<Option<Caller>> {
    let (Some(key_id), Some(user_id), Some(org_id), Some(role), Some(scopes)) = (
        outcome.key_id.clone(),
        outcome.user_id.clone(),
        outcome.org_id.clone(),
        outcome.role.as_deref(),
        outcome.scopes.clone(),
    ) else {
        return Ok(None);
    };
    Ok(Some(Caller {
        key_id,
        user_id,
        org_id,
        role: role.parse()?,
        scopes: Scopes::stored(scopes),
        private_notes: PrivateNotes::Open,
        on_behalf: false,
    }))
}

/// Whole seconds until `reset_at`, rounded up.
fn seconds_until_reset(outcome: &Outcome) -> u32 {
    let left = outcome.reset_at.map_or(0, |at| (at - outcome.at).num_milliseconds());
    u32::try_from((left.max(0) + 999) / 1000).unwrap_or(u32::MAX)
}

fn check(outcome: &Outcome, limit: u32) -> Result<()> {
    if outcome.allowed {
        return Ok(());
    }
    Err(Error::RateLimited {
        limit,
        reset_at: outcome.reset_at.unwrap_or(outcome.at),
        retry_after: seconds_until_reset(outcome).max(1),
    })
}

fn announce(outcome: &Outcome, limit: u32) {
    let Some(remaining) = outcome.remaining else { return };
    let numbers = [
        ("ratelimit-limit", limit),
        ("ratelimit-remaining", remaining.unsigned_abs()),
        ("ratelimit-reset", seconds_until_reset(outcome)),
    ];
    for (name, number) in numbers {
        scope::set_header(HeaderName::from_static(name), HeaderValue::from(number));
    }
}
