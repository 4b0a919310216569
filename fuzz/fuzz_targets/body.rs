//! JSON bodies: whatever comes, reading it and saying what is wrong with it has a bounded cost, in
//! memory and in time, also for a piece of JSON that stands in a body as often as a million bytes
//! allow.
#![no_main]

#[path = "../../server/src/http/inspect.rs"]
mod inspect;
#[path = "../../server/types/src/issue.rs"]
mod issue;
#[path = "../../server/src/http/issues.rs"]
mod issues;
#[path = "../../server/src/http/json.rs"]
mod json;

/// The errors of the server that its parsers know.
mod error {
    pub use crate::issue::{Issue, Step};
    use std::borrow::Cow;

    pub type Result<T, E = Error> = std::result::Result<T, E>;

    #[derive(Debug)]
    pub enum Error {
        Invalid(Vec<Issue>),
        Malformed(Cow<'static, str>),
    }
}
/// Where the server says what an id looks like.
mod store {
    pub mod ids {
        pub const CUID_PATTERN: &str = "^c[a-z0-9]{24}$";
    }
}

use cpu_time::ThreadTime;
use error::Error;
use issues::{Check, Issues};
use json::parse;
use libfuzzer_sys::fuzz_target;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest body that the server reads, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// The memory that one body may take, in bytes.
const MEMORY: usize = 64 * 1024 * 1024;
/// The time that one body may take: 100 milliseconds, and three times that in a program that counts its
/// steps.
const TIME: Duration = Duration::from_millis(300);

/// Counts what is allocated, now and at the most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
    Tool,
}

/// A part of a body, with all that bodies have.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "it is only read")]
struct Part {
    role: Role,
    content: Option<String>,
    tags: Option<Vec<String>>,
    calls: Option<Vec<Map<String, Value>>>,
    labels: Option<std::collections::BTreeMap<String, Vec<String>>>,
    count: Option<u32>,
    inner: Option<Box<Part>>,
}

/// A body.
#[derive(Deserialize, JsonSchema)]
struct Whole {
    role: Role,
    list: Vec<Part>,
}

impl Check for Part {
    fn check(&self, issues: &mut Issues) {
        issues.length("content", self.content.as_deref().unwrap_or_default(), 1..=100);
        issues.count("tags", self.tags.as_ref().map_or(0, Vec::len), 20);
    }
}

impl Check for Whole {
    fn check(&self, issues: &mut Issues) {
        let _ = &self.role;
        issues.within("list", |issues| {
            for (i, part) in self.list.iter().enumerate().take(100) {
                issues.within(i, |issues| part.check(issues));
            }
        });
    }
}

fn weigh(body: &[u8]) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let begun = ThreadTime::now();
    let read = parse::<Whole>(body);
    let time = begun.elapsed();
    let memory = MOST.load(Ordering::Relaxed) - before;
    assert!(memory < MEMORY, "{memory} bytes for a body of {}", body.len());
    assert!(time < TIME, "{time:?} for a body of {} bytes", body.len());
    match read {
        Ok(_) => {}
        Err(Error::Malformed(message)) => assert!(message.len() < 1_000, "{}", message.len()),
        Err(Error::Invalid(issues)) => assert!((1..=100).contains(&issues.len())),
    }
}

fuzz_target!(|input: (&str, u8)| {
    let (piece, place) = input;
    weigh(piece.as_bytes());
    if piece.is_empty() || piece.len() > MAX_BODY / 2 {
        return;
    }
    let (before, after) = [
        ("[", "]"),
        (r#"{"list":["#, "]}"),
        (r#"{"role":"user","list":["#, "]}"),
        (r#"{"list":[{"tags":["#, "]}]}"),
        (r#"{"list":[{"calls":["#, "]}]}"),
        (r#"{"list":[{"labels":{"a":["#, "]}}]}"),
    ][usize::from(place) % 6];
    let count = (MAX_BODY - before.len() - after.len()) / (piece.len() + 1);
    weigh(format!("{before}{}{after}", vec![piece; count].join(",")).as_bytes());
});
