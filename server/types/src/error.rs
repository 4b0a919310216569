//! What can go wrong, without a transport: one enum, rendered once, at the edge.

use chrono::{DateTime, Utc};
use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::issue::display_path;
pub use crate::issue::{Issue, Step};

/// The result of everything that a request can ask for.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Seconds after which a caller may try again when the server itself is the bottleneck.
pub const RETRY_AFTER_OVERLOAD: u32 = 2;

/// The same when two requests stood in each other's way.
pub const RETRY_AFTER_CONTENTION: u32 = 1;

/// The same when the caller's own notes wait to be embedded: as many as were refused take a while.
pub const RETRY_AFTER_BACKLOG: u32 = 30;

/// Why a request was not carried out. Messages are for the caller; what only the operator may see
/// is the `source` of [`Error::Internal`], which goes to the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is well-formed, but these fields are not acceptable.
    #[error("{}", describe(.0))]
    Invalid(Vec<Issue>),
    /// The request cannot be read at all: no JSON, a bad header, a broken path.
    #[error("{0}")]
    Malformed(Cow<'static, str>),
    /// The body exceeds `limit` bytes.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// The largest body that is read, in bytes.
        limit: usize,
    },
    /// The body is not announced as JSON.
    #[error("the request body must be sent as Content-Type: application/json")]
    UnsupportedMediaType,
    /// No key, or one that is unknown, revoked, expired or its user's no longer.
    #[error("{0}")]
    Unauthenticated(Cow<'static, str>),
    /// The caller is known and may not do this.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// Absent, or invisible to the caller; the two are never told apart.
    #[error("{0}")]
    NotFound(Cow<'static, str>),
    /// The route exists for other methods only.
    #[error("this route does not answer {method}")]
    MethodNotAllowed {
        /// The method that was used.
        method: String,
        /// The value of the `Allow` header.
        allow: String,
    },
    /// A duplicate, a race, or a transition that the resource's state does not allow.
    #[error("{message}")]
    Conflict {
        /// What collided.
        message: Cow<'static, str>,
        /// Seconds, when waiting helps.
        retry_after: Option<u32>,
    },
    /// The client says that it is older than the server accepts.
    #[error("this server needs a client of version {minimum} or newer: upgrade it")]
    UpgradeRequired {
        /// The oldest version that is accepted.
        minimum: semver::Version,
    },
    /// The key's (or the address's) limit is spent.
    #[error("rate limit of {limit} requests a minute exceeded; retry in {retry_after} s")]
    RateLimited {
        /// Requests a minute.
        limit: u32,
        /// When the next request will be let through.
        reset_at: DateTime<Utc>,
        /// The same in seconds from now, at least 1.
        retry_after: u32,
    },
    /// As many of the caller's notes wait for their vectors as may.
    #[error("{message}")]
    Backlogged {
        /// How many wait.
        message: Cow<'static, str>,
        /// Seconds.
        retry_after: u32,
    },
    /// The organization, or its member, has as much of something as it may have.
    #[error("{0}")]
    QuotaReached(Cow<'static, str>),
    /// As many requests of the key (or of its organization) as may be are being worked on already.
    #[error(
        "{at_once} requests of this {whose} are running already; send the next one when one of them is answered, or retry in {retry_after} s"
    )]
    Crowded {
        /// `key` or `organization`.
        whose: &'static str,
        /// So many may run at once.
        at_once: u32,
        /// Seconds.
        retry_after: u32,
    },
    /// Overloaded, shutting down, past the deadline, or the database is away.
    #[error("{message}")]
    Unavailable {
        /// What is short.
        message: Cow<'static, str>,
        /// Seconds.
        retry_after: u32,
    },
    /// A server that ours depends on (payments, an integration) failed or did not answer in time.
    #[error("{message}")]
    Upstream {
        /// Which one, and how; nothing secret.
        message: Cow<'static, str>,
        /// It did not answer in time.
        timed_out: bool,
    },
    /// A defect of ours. The caller learns the request id, the log everything else.
    #[error("an unexpected error occurred; the request id identifies it in the server's log")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn describe(issues: &[Issue]) -> String {
    match issues {
        [] => "the request is not valid".into(),
        [one] => format!("{} {}", display_path(&one.path), one.message),
        [first, rest @ ..] => {
            format!("{} {} (and {} more)", display_path(&first.path), first.message, rest.len())
        }
    }
}

impl Error {
    /// One field that is not acceptable.
    pub fn invalid(
        path: impl IntoIterator<Item = impl Into<Step>>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Error::Invalid(vec![Issue {
            path: path.into_iter().map(Into::into).collect(),
            code,
            message: message.into(),
        }])
    }

    /// The caller may not do this.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Error::Forbidden(message.into())
    }

    /// `what` is absent or invisible; reads "no such {what}".
    pub fn not_found(what: &str) -> Self {
        Error::NotFound(Cow::Owned(format!("no such {what}")))
    }

    /// The state of things does not allow this.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Error::Conflict { message: message.into(), retry_after: None }
    }

    /// The server cannot do this now, but soon.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Error::Unavailable { message: message.into(), retry_after: RETRY_AFTER_OVERLOAD }
    }

    /// A defect, with what led to it.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Internal(source.into())
    }

    /// Whether the same request, sent again, is bound to fail the same way until somebody changes
    /// something: such an answer is worth replaying.
    pub fn is_deterministic(&self) -> bool {
        match self {
            Error::Invalid(_) | Error::Malformed(_) | Error::Forbidden(_) | Error::NotFound(_) => {
                true
            }
            Error::Conflict { retry_after, .. } => retry_after.is_none(),
            Error::TooLarge { .. }
            | Error::UnsupportedMediaType
            | Error::Unauthenticated(_)
            | Error::MethodNotAllowed { .. }
            | Error::UpgradeRequired { .. }
            | Error::RateLimited { .. }
            | Error::Backlogged { .. }
            // somebody can give the organization more, or it deletes something
            | Error::QuotaReached(_)
            | Error::Crowded { .. }
            | Error::Unavailable { .. }
            | Error::Upstream { .. }
            | Error::Internal(_) => false,
        }
    }

    /// Why, for the log: the whole chain of causes, and nothing that a body said. What a message
    /// was made of is not known here, so of those that are not fixed texts only the kind is told,
    /// and of causes nothing that they quote.
    pub fn chain(&self) -> String {
        match self {
            Error::Invalid(issues) => {
                let codes: BTreeSet<_> = issues.iter().map(|issue| issue.code).collect();
                let codes: Vec<_> = codes.into_iter().collect();
                format!("the request is not valid: {}", codes.join(", "))
            }
            Error::Malformed(Cow::Owned(_)) => "the request cannot be read".into(),
            Error::Conflict { message: Cow::Owned(_), .. } => "there was a conflict".into(),
            Error::Forbidden(Cow::Owned(_)) => "the caller may not do this".into(),
            Error::Internal(_) => {
                let mut out = self.to_string();
                let mut cause = std::error::Error::source(self);
                while let Some(c) = cause {
                    out.push_str(": ");
                    out.push_str(&without_quotes(&c.to_string()));
                    cause = c.source();
                }
                out
            }
            other => other.to_string(),
        }
    }
}

/// Longest name of something in the database that is repeated.
const MAX_NAME: usize = 63;

/// `text` without what stands in it between quotes or backticks: parsers, PostgreSQL and panics
/// quote what they were given. Names of the database's own stay; they have underscores.
pub fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(at);
        let quote = &quoted[..1];
        let inner = &quoted[1..];
        let mut escaped = false;
        let end = inner.find(|c: char| {
            let ends = !escaped && quote.starts_with(c);
            escaped = !escaped && c == '\\';
            ends
        });
        out.push_str(before);
        out.push_str(quote);
        let Some(end) = end else {
            out.push('…');
            return out;
        };
        let name = &inner[..end];
        let part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let is_name = name.len() <= MAX_NAME && name.contains('_') && name.bytes().all(part);
        out.push_str(if is_name { name } else { "…" });
        out.push_str(quote);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    out
}

/// Why a statement could not be carried out, as a caller sees it: a database that is away or too
/// slow is a 503, everything else is a defect.
///
/// Diesel passes on no SQLSTATE, and has a kind of its own for few of them. The others are told
/// apart by PostgreSQL's English messages: `store/connection.rs` asks for those, and
/// `store/requirements.rs` refuses a server that answers in another language.
impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind as Kind, Error as Diesel};
        const AWAY: &str = "the database is not reachable at the moment";
        let message_contains = |signs: &[&str]| match &error {
            Diesel::DatabaseError(_, info) => {
                signs.iter().any(|sign| info.message().contains(sign))
            }
            _ => false,
        };
        match &error {
            Diesel::DatabaseError(Kind::ClosedConnection, _) | Diesel::BrokenTransactionManager => {
                Error::unavailable(AWAY)
            }
            Diesel::DatabaseError(Kind::SerializationFailure, _) => contended(),
            // triggers count: see the migration that makes quotas
            Diesel::DatabaseError(Kind::CheckViolation, info)
                if info.constraint_name() == Some("quota_waiting") =>
            {
                Error::Backlogged {
                    message: info.message().to_owned().into(),
                    retry_after: RETRY_AFTER_BACKLOG,
                }
            }
            Diesel::DatabaseError(Kind::CheckViolation, info)
                if info.constraint_name().is_some_and(|name| name.starts_with("quota_")) =>
            {
                Error::QuotaReached(info.message().to_owned().into())
            }
            Diesel::DatabaseError(Kind::ReadOnlyTransaction, _) => {
                Error::unavailable("the database takes no writes at the moment")
            }
            // the queries have asked the same before: somebody took the right away meanwhile
            Diesel::DatabaseError(..)
                if message_contains(&["violates row-level security policy"]) =>
            {
                Error::forbidden("your rights were changed at the same moment")
            }
            Diesel::DatabaseError(..)
                if message_contains(&["canceling statement due to statement timeout"]) =>
            {
                Error::unavailable(
                    "the database took too long for this; ask for less (fewer words, one Space, a \
                     shorter period, a smaller page), or try again later",
                )
            }
            // what has no kind of its own in Diesel: 40P01
            Diesel::DatabaseError(..) if message_contains(&["deadlock detected"]) => contended(),
            // 53100, and what files that may not grow are answered
            Diesel::DatabaseError(..)
                if message_contains(&[
                    "No space left on device",
                    "File too large",
                    "Disk quota exceeded",
                ]) =>
            {
                Error::unavailable("the database has no space left")
            }
            // 53200, 53300
            Diesel::DatabaseError(..)
                if message_contains(&[
                    "out of memory",
                    "too many clients",
                    "remaining connection slots",
                ]) =>
            {
                Error::unavailable("the database is overloaded")
            }
            Diesel::DatabaseError(..)
                if message_contains(&[
                    "terminating connection",
                    "the database system is",
                    "connection closed",
                ]) =>
            {
                Error::unavailable(AWAY)
            }
            Diesel::QueryBuilderError(_) | Diesel::DeserializationError(_)
                if error.to_string().contains("connection closed") =>
            {
                Error::unavailable(AWAY)
            }
            _ => Error::internal(error),
        }
    }
}

/// Two requests stood in each other's way, and this one gave in: nothing of it was done.
fn contended() -> Error {
    Error::Unavailable {
        message: "other requests changed the same things at the same moment; try again".into(),
        retry_after: RETRY_AFTER_CONTENTION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::result::{DatabaseErrorKind as Kind, Error as Diesel};

    fn of(kind: Kind, message: &str) -> Error {
        Diesel::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn the_log_learns_why_and_nothing_that_a_body_said() {
        let body = r#"{ "role": "hunter2 \\" hunter2", "n": "hunter2" }"#;
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, clippy::allow_attributes, reason = "it is never read")]
        struct Typed {
            role: u32,
        }
        let of_serde = serde_json::from_str::<Typed>(body).expect_err("no number");
        assert!(of_serde.to_string().contains("hunter2"));
        for (error, says) in [
            (Error::invalid(["hunter2"], "too_long", "`hunter2` is long"), "too_long"),
            (Error::Malformed(format!("{of_serde}").into()), "cannot be read"),
            (Error::conflict("hunter2 is taken".to_owned()), "conflict"),
            (Error::forbidden("not hunter2".to_owned()), "may not"),
            (Error::internal(of_serde), "invalid type: string \"…\", expected u32 at line 1"),
            (
                of(Kind::Unknown, "invalid input syntax for type uuid: \"hunter2\""),
                "syntax for type uuid: \"…\"",
            ),
            (
                of(Kind::UniqueViolation, "duplicate key violates \"spaces_org_id_slug_key\""),
                "violates \"spaces_org_id_slug_key\"",
            ),
            (Error::internal("index out of `hunter2"), "index out of `…"),
        ] {
            let logged = error.chain();
            assert!(logged.contains(says) && !logged.contains("hunter2"), "{logged}");
        }
        // fixed texts stay
        assert_eq!(Error::forbidden("only OWNERs may").chain(), "only OWNERs may");
    }

    #[test]
    fn what_passes_is_503_with_retry_after() {
        for (kind, message) in [
            (Kind::Unknown, "deadlock detected"),
            (Kind::SerializationFailure, "could not serialize access due to concurrent update"),
            (Kind::ReadOnlyTransaction, "cannot execute INSERT in a read-only transaction"),
            (Kind::Unknown, "could not extend file \"base/5/2608\": No space left on device"),
            (Kind::Unknown, "could not extend file \"base/5/2608\": File too large"),
            (Kind::Unknown, "sorry, too many clients already"),
            (Kind::Unknown, "canceling statement due to statement timeout"),
            (Kind::Unknown, "terminating connection due to administrator command"),
            (Kind::Unknown, "the database system is in recovery mode"),
            (Kind::ClosedConnection, "connection closed"),
        ] {
            let error = of(kind, message);
            assert!(
                matches!(error, Error::Unavailable { retry_after: 1.., .. }),
                "{message}: {error:?}"
            );
        }
    }

    #[test]
    fn what_does_not_is_a_defect() {
        for (kind, message) in [
            (Kind::UniqueViolation, "duplicate key value violates unique constraint"),
            (Kind::Unknown, "permission denied for table memories"),
        ] {
            assert!(matches!(of(kind, message), Error::Internal(_)), "{message}");
        }
    }
}
