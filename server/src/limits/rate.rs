//! Authentication and rate limit, in one round trip (contract A2, A6, E2).

use crate::auth::{ApiKey, Caller, KeySecret};
use crate::error::{Error, Result};
use crate::http::{Dialect, peer as peers, request_state};
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

const FOREIGN: &str = "this is not an API key: it is mistyped, truncated or foreign";

/// The key that the request carries; why there is none otherwise.
fn presented_key(headers: &HeaderMap) -> Result<ApiKey> {
    let bearer = bearer(headers);
    // Only the Save Session dialect has a second header. A bearer token goes before it; a proxy's
    // own kind of `Authorization` does not.
    if bearer.is_ok() || request_state::dialect() != Dialect::SaveSession {
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

/// A request whose caller is not known yet.
pub struct Applicant {
    attempt: Attempt,
    /// What is wrong with the key that it carries.
    refusal: Option<Error>,
}

impl Applicant {
    /// Who sent `headers` from `peer`, counted against a quota. `failures` is
    /// [`Limits::failures`].
    pub fn new(
        secret: &KeySecret,
        failures: u32,
        headers: &HeaderMap,
        peer: IpAddr,
        Quota { bucket, limit }: Quota,
    ) -> Self {
        let (digest, refusal) = match presented_key(headers) {
            Ok(key) => (Some(secret.digest(&key)), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let address = peers::counted(peer).to_string();
        Applicant {
            attempt: Attempt { digest, address, bucket, limit, failure_limit: failures },
            refusal,
        }
    }

    /// The key's digest, and what the request is counted against.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Turns the key into its caller and counts the request: see [`Applicant::judge`].
    pub async fn admit(self, store: &Store) -> Result<Caller> {
        let outcome = authenticate(store, &self.attempt).await?;
        self.judge(&outcome)
    }

    /// The caller, by what the database said to the attempt: 401 without a valid key, 429 when the
    /// key's limit (or, without a valid key, the address's) is spent. Puts the `RateLimit-*` headers
    /// on the answer, whatever it will be.
    pub fn judge(self, outcome: &Outcome) -> Result<Caller> {
        let Attempt { limit, failure_limit, .. } = self.attempt;
        match (outcome.caller()?, self.refusal) {
            (Some(caller), None) => {
                request_state::set_caller(caller.key_id.as_str());
                announce(outcome, limit);
                check(outcome, limit)?;
                Ok(caller)
            }
            (_, refusal) => {
                check(outcome, failure_limit)?;
                Err(refusal.unwrap_or(Error::Unauthenticated(
                    "this API key is unknown, revoked or expired, or its user has left the \
                     organization"
                        .into(),
                )))
            }
        }
    }
}

/// Counts a request that proves itself by other means than a key, and has failed to: 429 when the
/// address's limit is spent.
pub async fn count_failure(store: &Store, limits: &Limits, peer: IpAddr) -> Result<()> {
    let attempt = Attempt {
        digest: None,
        address: peers::counted(peer).to_string(),
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

fn announce(outcome: &Outcome, limit: u32) {
    let Some(remaining) = outcome.remaining else { return };
    let numbers = [
        ("ratelimit-limit", limit),
        ("ratelimit-remaining", remaining.unsigned_abs()),
        ("ratelimit-reset", seconds_until_reset(outcome)),
    ];
    for (name, number) in numbers {
        request_state::set_header(HeaderName::from_static(name), HeaderValue::from(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{OrgRole, PrivateNotes};
    use crate::http::request_state::RequestState;
    use crate::store::ids::{KeyId, OrgId, UserId};
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    fn key() -> ApiKey {
        ApiKey::generate().expect("randomness")
    }

    fn headers(list: &[(&'static str, String)]) -> HeaderMap {
        let value = |text: &String| HeaderValue::from_bytes(text.as_bytes()).expect("a value");
        list.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
    }

    fn refused(result: Result<ApiKey>) -> String {
        match result {
            Err(Error::Unauthenticated(message)) => message.into_owned(),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    }

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
    fn a_key_is_a_bearer_token_and_who_sends_another_is_told_what_is_wrong() {
        let key = key();
        let key = key.expose();
        for text in [format!("Bearer {key}"), format!("bEARER   {key} ")] {
            let headers = headers(&[("authorization", text)]);
            assert_eq!(bearer(&headers).expect("a key").expose(), key);
        }
        assert!(refused(bearer(&HeaderMap::new())).starts_with("send an API key"));
        for text in [key.to_owned(), "Bearer".to_owned(), format!("Basic {key}"), "ü".to_owned()] {
            let headers = headers(&[("authorization", text)]);
            assert!(refused(bearer(&headers)).contains("must read `Bearer"), "{headers:?}");
        }
        for text in [format!("Bearer {key}0"), "Bearer ".to_owned(), format!("Bearer {key} {key}")]
        {
            assert_eq!(refused(bearer(&headers(&[("authorization", text)]))), FOREIGN);
        }
    }

    #[tokio::test]
    async fn one_dialect_alone_has_a_second_header_and_a_bearer_token_goes_before_it() {
        let (first, second) = (key(), key());
        let bearer = ("authorization", format!("Bearer {}", first.expose()));
        let basic = ("authorization", "Basic cHJveHk6cHJveHk=".to_owned());
        let other = ("x-api-key", format!(" {} ", second.expose()));
        let wrong = ("x-api-key", "sk_live_x".to_owned());
        let presented = async |dialect, list: &[(&'static str, String)]| {
            let headers = headers(list);
            request_state::enter(RequestState::new(String::new(), dialect), async {
                presented_key(&headers)
            })
            .await
            .map(|key| key.expose().to_owned())
            .map_err(|error| error.to_string())
        };
        for dialect in [Dialect::Switchy, Dialect::SaveSession, Dialect::JsonRpc] {
            let with_both = presented(dialect, &[bearer.clone(), other.clone()]).await;
            assert_eq!(with_both.as_deref(), Ok(first.expose()), "{dialect:?}");
            let without = presented(dialect, &[]).await;
            assert!(without.is_err_and(|message| message.starts_with("send an API key")));
            for list in [vec![other.clone()], vec![basic.clone(), other.clone()]] {
                let second_alone = presented(dialect, &list).await;
                if dialect == Dialect::SaveSession {
                    assert_eq!(second_alone.as_deref(), Ok(second.expose()));
                } else {
                    assert!(second_alone.is_err_and(|message| message != FOREIGN), "{dialect:?}");
                }
            }
        }
        let foreign = presented(Dialect::SaveSession, &[wrong]).await;
        assert_eq!(foreign, Err(FOREIGN.to_owned()));
    }

    #[test]
    fn the_digest_is_that_of_the_key_and_none_where_there_is_no_key() {
        let (secret, key) = (KeySecret::derive(b"a"), key());
        let with = headers(&[("authorization", format!("Bearer {}", key.expose()))]);
        assert_eq!(digest(&secret, &with), Some(secret.digest(&key)));
        assert_eq!(digest(&secret, &headers(&[("authorization", "Bearer x".into())])), None);
        assert_eq!(digest(&secret, &HeaderMap::new()), None);
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

    #[tokio::test]
    async fn an_answer_tells_limit_rest_and_reset_unless_there_is_no_limit() {
        let told = async |found: Outcome| {
            let scope = RequestState::new(String::new(), Dialect::Switchy);
            let headers = request_state::enter(scope, async {
                announce(&found, 5);
                request_state::take_headers()
            });
            headers.await
        };
        let headers = told(outcome(true, Some(3), Some(12_345))).await;
        let number = |name| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(
            ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(number),
            [Some("5"), Some("3"), Some("13")]
        );
        assert!(told(outcome(true, None, Some(12_345))).await.is_empty());
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
