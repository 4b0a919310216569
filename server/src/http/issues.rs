//! Everything that is wrong with what a client sent: collected, and told where.

use super::inspect::MAX_ISSUES;
use crate::error::{Error, Issue, Result, Step};
use serde_path_to_error::Segment;

/// Collects everything that is wrong with a value.
#[derive(Debug, Default)]
pub struct Issues {
    at: Vec<Step>,
    found: Vec<Issue>,
    /// Where something is wrong already, before the check.
    known: Vec<Vec<Step>>,
}

impl Issues {
    /// Something is wrong with `field` (of the value that is being checked).
    pub fn add(&mut self, field: impl Into<Step>, code: &'static str, message: impl Into<String>) {
        if self.found.len() >= MAX_ISSUES {
            return;
        }
        let mut path = self.at.clone();
        path.push(field.into());
        self.found.push(Issue { path, code, message: message.into() });
    }

    /// Whether `field` could not be read at all, and is absent for that reason alone.
    pub fn is_unreadable(&self, field: &'static str) -> bool {
        let mut path = self.at.clone();
        path.push(field.into());
        self.known.iter().any(|known| known.starts_with(&path))
    }

    /// Checks what lies below `field`.
    pub fn within(&mut self, field: impl Into<Step>, check: impl FnOnce(&mut Self)) {
        self.at.push(field.into());
        check(self);
        self.at.pop();
    }

    /// The length of a text in characters.
    pub fn length(
        &mut self,
        field: impl Into<Step>,
        text: &str,
        allowed: std::ops::RangeInclusive<usize>,
    ) {
        let count = text.chars().count();
        if count < *allowed.start() {
            let message = match allowed.start() {
                1 => "must not be empty".to_owned(),
                n => format!("must be at least {n} characters"),
            };
            self.add(field, "too_short", message);
        } else if count > *allowed.end() {
            let message = format!("must be at most {} characters", allowed.end());
            self.add(field, "too_long", message);
        }
    }

    /// The number of elements of a list.
    pub fn count(&mut self, field: impl Into<Step>, count: usize, most: usize) {
        if count > most {
            self.add(field, "too_many", format!("must have at most {most} elements"));
        }
    }

    /// A number's range.
    pub fn range(
        &mut self,
        field: impl Into<Step>,
        value: i64,
        allowed: std::ops::RangeInclusive<i64>,
    ) {
        if !allowed.contains(&value) {
            let message = format!("must be between {} and {}", allowed.start(), allowed.end());
            self.add(field, "out_of_range", message);
        }
    }
}

/// Types that can check what a schema cannot express, or Dropshot does not enforce.
pub trait Check {
    /// Query parameters that may be repeated: the fields that are [`Repeated`](super::Repeated).
    const REPEATED: &'static [&'static str] = &[];

    /// Whether a request without a body is one without fields; it then needs no content type.
    const MAY_BE_ABSENT: bool = false;

    /// Adds everything that is wrong with `self`.
    fn check(&self, issues: &mut Issues) {
        let _ = issues;
    }
}

/// Adds what `value` violates, except where something else is wrong already.
pub(super) fn check_rest<T: Check>(value: &T, at: &[Step], issues: &mut Vec<Issue>) {
    let at_fault = issues.iter().map(|issue| issue.path.clone()).collect();
    let mut more = Issues { at: at.to_vec(), found: Vec::new(), known: at_fault };
    value.check(&mut more);
    let known = issues.len();
    for issue in more.found {
        if !issues[..known].iter().any(|other| issue.path.starts_with(&other.path)) {
            issues.push(issue);
        }
    }
}

/// The value, unless something is wrong with it.
pub(super) fn accepted<T>(value: T, mut issues: Vec<Issue>) -> Result<T> {
    issues.truncate(MAX_ISSUES);
    if issues.is_empty() { Ok(value) } else { Err(Error::Invalid(issues)) }
}

/// Longest message that quotes what the client sent, in characters.
const MAX_MESSAGE: usize = 200;

/// The name between backticks after `prefix`, if `message` begins so.
fn quoted<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.split('`').next()
}

/// Code and message of what serde says.
pub(super) fn described(message: &str) -> (&'static str, String) {
    if quoted(message, "missing field ").is_some() {
        return ("required", "is required".to_owned());
    }
    if quoted(message, "duplicate field ").is_some() {
        return ("duplicate", "must be given only once".to_owned());
    }
    let message = match message.split(" at line ").next().unwrap_or_default() {
        // how the standard library says it of a text
        "invalid digit found in string" => "must be a whole number",
        "number too large to fit in target type" => "is too large",
        other => other,
    };
    ("invalid", message.chars().take(MAX_MESSAGE).collect())
}

/// Turns serde's message into an issue with the path it is about.
pub(super) fn located<E: std::fmt::Display>(
    error: &serde_path_to_error::Error<E>,
    at: &[Step],
) -> Issue {
    let mut path = at.to_vec();
    for segment in error.path().iter() {
        match segment {
            Segment::Seq { index } => path.push(Step::Index(*index)),
            Segment::Map { key } => path.push(Step::from(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let message = error.inner().to_string();
    // these are reported at the parent
    let field = quoted(&message, "missing field ").or(quoted(&message, "duplicate field "));
    path.extend(field.map(|field| Step::from(field.to_owned())));
    let (code, message) = described(&message);
    Issue { path, code, message }
}
