//! Authentication and rate limit, in one round trip (contract A2, A6, E2).

use crate::auth::{ApiKey, Caller, KeySecret};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::authentication::{Attempt, Outcome, authenticate};
use crate::store::ids::KeyId;
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

    /// How many requests of this kind a key has.
    pub fn quota(self, limits: &Limits) -> Quota {
        let limit = match self {
            Bucket::Read => limits.reads,
            Bucket::Write => limits.writes,
        };
        Quota { bucket: self.as_str(), limit }
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

/// An attempt to authenticate, before the database was asked whose key it is.
pub struct AuthAttempt {
    attempt: Attempt,
    /// The fault of the key that the request carries; `None` if it is well-formed.
    refusal: Option<Error>,
}

impl AuthAttempt {
    /// With `key` (or why there is none), from `address`, counted against a quota. `failures` is
    /// [`Limits::failures`].
    pub fn new(
        secret: &KeySecret,
        failures: u32,
        key: Result<ApiKey>,
        address: IpAddr,
        Quota { bucket, limit }: Quota,
    ) -> Self {
        let (digest, refusal) = match key {
            Ok(key) => (Some(secret.digest(&key)), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let address = address.to_string();
        AuthAttempt {
            attempt: Attempt { digest, address, bucket, limit, failure_limit: failures },
            refusal,
        }
    }

    /// The key's digest, and what the request is counted against.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Turns the key into its caller and counts the request: see [`AuthAttempt::resolve`].
    pub async fn authenticate(self, store: &Store) -> Result<Admission> {
        let outcome = authenticate(store, &self.attempt).await?;
        self.resolve(&outcome)
    }

    /// Turns the database's answer to the attempt into an admission: 401 without a valid key, 429 when the key's
    /// limit (or, without a valid key, the address's) is spent.
    pub fn resolve(self, outcome: &Outcome) -> Result<Admission> {
        let Attempt { limit, failure_limit, .. } = self.attempt;
        Ok(match (outcome.caller()?, self.refusal) {
            (Some(caller), None) => Admission {
                key_id: Some(caller.key_id.clone()),
                headers: headers(outcome, limit),
                caller: check(outcome, limit).map(|()| caller),
            },
            (_, refusal) => Admission {
                key_id: None,
                headers: Vec::new(),
                caller: check(outcome, failure_limit).and(Err(refusal.unwrap_or(
                    Error::Unauthenticated(
                        "this API key is unknown, revoked or expired, or its user has left the \
                         organization"
                            .into(),
                    ),
                ))),
            },
        })
    }
}

/// The outcome of an attempt to authenticate.
pub struct Admission {
    /// The key, if it is valid, whether or not its limit is spent.
    pub key_id: Option<KeyId>,
    /// Headers of the answer, whatever it will be.
    pub headers: Vec<(&'static str, u32)>,
    /// The caller, or why there is none.
    pub caller: Result<Caller>,
}

/// Counts a request that proves itself by other means than a key, and has failed to: 429 when the
/// address's limit is spent.
pub async fn count_failure(store: &Store, limits: &Limits, address: IpAddr) -> Result<()> {
    let attempt = Attempt {
        digest: None,
        address: address.to_string(),
        bucket: Bucket::Write.as_str(),
        limit: limits.writes,
        failure_limit: limits.failures,
    };
    check(&authenticate(store, &attempt).await?, limits.failures)
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

/// The headers that tell of the key's limit; none without a limit.
fn headers(outcome: &Outcome, limit: u32) -> Vec<(&'static str, u32)> {
    let Some(remaining) = outcome.remaining else { return Vec::new() };
    vec![
        ("ratelimit-limit", limit),
        ("ratelimit-remaining", remaining.unsigned_abs()),
        ("ratelimit-reset", seconds_until_reset(outcome)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{OrgRole, PrivateNotes};
    use crate::store::ids::{KeyId, OrgId, UserId};
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    /// Of a valid key, `left` milliseconds before the next place is free.
    fn outcome(allowed: bool, remaining: Option<i32>, left: Option<i64>) -> Outcome {
        let at = DateTime::from_timestamp(1_767_225_600, 0).expect("a moment");
        Outcome {
            key_id: Some(KeyId::generate()),
            user_id: Some(UserId::generate()),
            org_id: Some(OrgId::generate()),
            role: Some("ADMIN".to_owned()),
            scopes: Some(vec!["memory:read".to_owned()]),
            allowed,
            remaining,
            reset_at: left.map(|left| at + TimeDelta::milliseconds(left)),
            at,
        }
    }

    #[test]
    fn reads_and_writes_are_counted_under_the_names_that_the_database_knows() {
        assert_eq!([Bucket::Read, Bucket::Write].map(Bucket::as_str), ["read", "write"]);
    }

    #[test]
    fn a_caller_is_exactly_whom_the_database_names() {
        let found = outcome(true, None, None);
        let caller = found.caller().expect("a known role").expect("a caller");
        assert_eq!(Some(caller.key_id), found.key_id);
        assert_eq!(Some(caller.user_id), found.user_id);
        assert_eq!(Some(caller.org_id), found.org_id);
        assert_eq!(caller.role, OrgRole::Admin);
        assert_eq!(Some(caller.scopes.names().to_vec()), found.scopes);
        assert_eq!(caller.private_notes, PrivateNotes::Open);
        assert!(!caller.on_behalf);
    }

    #[test]
    fn whom_the_database_names_in_part_is_no_caller() {
        let without: [fn(&mut Outcome); 5] = [
            |outcome| outcome.key_id = None,
            |outcome| outcome.user_id = None,
            |outcome| outcome.org_id = None,
            |outcome| outcome.role = None,
            |outcome| outcome.scopes = None,
        ];
        for take in without {
            let mut found = outcome(true, None, None);
            take(&mut found);
            assert!(found.caller().expect("no defect").is_none());
        }
        let unknown = Outcome { role: Some("KING".into()), ..outcome(true, None, None) };
        assert!(matches!(unknown.caller(), Err(Error::Internal(_))));
    }

    #[test]
    fn what_is_allowed_passes_and_what_is_not_is_told_the_limit_and_when() {
        check(&outcome(true, Some(0), Some(60_000)), 5).expect("allowed");
        for (left, seconds) in [(Some(59_001), 60), (Some(0), 1), (Some(-5_000), 1), (None, 1)] {
            let found = outcome(false, Some(0), left);
            let Err(Error::RateLimited { limit, reset_at, retry_after }) = check(&found, 5) else {
                panic!("allowed");
            };
            assert_eq!((limit, retry_after), (5, seconds));
            assert_eq!(reset_at, found.reset_at.unwrap_or(found.at));
        }
    }

    #[test]
    fn an_answer_tells_limit_rest_and_reset_unless_there_is_no_limit() {
        let told = headers(&outcome(true, Some(3), Some(12_345)), 5);
        let expected =
            [("ratelimit-limit", 5), ("ratelimit-remaining", 3), ("ratelimit-reset", 13)];
        assert_eq!(told, expected);
        assert!(headers(&outcome(true, None, Some(12_345)), 5).is_empty());
    }

    #[test]
    fn a_spent_limit_still_tells_whose_key_it_was() {
        let key = Ok(ApiKey::generate().expect("randomness"));
        let secret = KeySecret::derive(b"a");
        let quota = Quota { bucket: "read", limit: 5 };
        let found = outcome(false, Some(0), Some(1_000));
        let address = IpAddr::from([192, 0, 2, 7]);
        let admission = AuthAttempt::new(&secret, 9, key, address, quota).resolve(&found);
        let admission = admission.expect("an admission");
        assert_eq!(admission.key_id, found.key_id);
        assert_eq!(admission.headers.len(), 3);
        assert!(matches!(admission.caller, Err(Error::RateLimited { limit: 5, .. })));
    }

    proptest! {
        #[test]
        fn who_waits_as_long_as_told_is_not_too_early_and_waits_no_second_in_vain(
            left in prop_oneof![-5_000i64..200_000, (-3i64..200).prop_map(|s| s * 1_000)],
        ) {
            let told = i64::from(seconds_until_reset(&outcome(false, Some(0), Some(left))));
            prop_assert!(told * 1_000 >= left);
            prop_assert!(told == 0 || (told - 1) * 1_000 < left);
        }
    }
}
