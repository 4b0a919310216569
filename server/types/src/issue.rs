//! What is wrong with a request, and where: needed by everything that reads one.

use std::borrow::Cow;

/// One thing that is wrong with a request, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Issue {
    /// Where in the body (bare path) or query (begins with `query`).
    pub path: Vec<Step>,
    /// Stable and machine-readable, for example `too_long`.
    pub code: &'static str,
    /// For a person: completes a sentence that begins with the field's name.
    pub message: String,
}

/// One step of an issue's path: a field's name or an index.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A field's name, as the JSON has it.
    Field(Cow<'static, str>),
    /// An index into an array, from 0.
    Index(usize),
}

impl From<&'static str> for Step {
    fn from(name: &'static str) -> Self {
        Step::Field(Cow::Borrowed(name))
    }
}

impl From<String> for Step {
    fn from(name: String) -> Self {
        Step::Field(Cow::Owned(name))
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// A path as a message names it: `tags[3]`.
pub fn display_path(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Field(name) if out.is_empty() => out.push_str(name),
            Step::Field(name) => {
                out.push('.');
                out.push_str(name);
            }
            Step::Index(i) => out.push_str(&format!("[{i}]")),
        }
    }
    if out.is_empty() { "body".into() } else { out }
}
