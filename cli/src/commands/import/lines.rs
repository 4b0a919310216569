//! What a line of the file means.

use std::{collections::HashMap, fmt::Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use switchy::types::{Membership, Memory};

use crate::{
    args::{Audience, Visibility},
    connection::{is_id, pick_space},
    failure::Failure,
};

/// What makes two notes the same: a hash of content, visibility and Space.
pub type Identity = [u8; 32];

/// What holds for the lines that do not say it themselves.
pub struct Defaults {
    visibility: String,
    /// A slug or an id.
    pub space: Option<String>,
}

impl Defaults {
    /// From the options. A Space that lines may name themselves need not be given here.
    ///
    /// # Errors
    ///
    /// When a Space is given for notes that belong to none.
    pub fn new(audience: &Audience) -> Result<Self, Failure> {
        let visibility = match (audience.visibility, &audience.space) {
            (Some(Visibility::Private | Visibility::Org), Some(_)) => {
                return Err(Failure::usage("--space goes with --visibility space alone"));
            }
            (Some(Visibility::Org), None) => "ORG",
            (Some(Visibility::Private), None) | (None, None) => "PRIVATE",
            (Some(Visibility::Space), _) | (None, Some(_)) => SPACE,
        };
        Ok(Self { visibility: visibility.into(), space: audience.space.clone() })
    }
}

/// The visibility that needs a Space.
const SPACE: &str = "SPACE";

/// The lines that are not blank, each with its number from 1.
pub fn numbered(text: &str) -> Vec<(usize, &str)> {
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect()
}

/// A line as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    content: String,
    visibility: Option<String>,
    space_id: Option<String>,
    tags: Option<Vec<String>>,
    source_url: Option<String>,
}

impl Line {
    /// The error is a sentence.
    pub fn parse(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|cause| {
            // Where in the file it is, is known; the parser's own line is always 1.
            let cause = cause.to_string();
            let cause = cause.split(" at line ").next().unwrap_or(&cause);
            format!("not a note: {cause}")
        })
    }

    /// The note that is meant. The error is a sentence.
    pub fn resolve(self, defaults: &Defaults, spaces: &[Membership]) -> Result<Note, String> {
        let visibility = match (&self.visibility, &self.space_id) {
            (Some(visibility), _) => visibility.to_uppercase(),
            (None, Some(_)) => SPACE.to_string(),
            (None, None) => defaults.visibility.clone(),
        };
        let space = match (self.space_id, visibility.as_str()) {
            (None, SPACE) => defaults.space.clone(),
            (space, _) => space,
        };
        let space_id = match space {
            None => None,
            Some(space) => match pick_space(spaces, &space) {
                Ok(space) => Some(space.id.clone()),
                // The server knows best what to say about an id.
                Err(_) if is_id(&space) => Some(space),
                Err(_) => return Err(format!("you are in no Space `{space}`")),
            },
        };
        Ok(Note {
            content: self.content,
            visibility,
            space_id,
            tags: self.tags.unwrap_or_default(),
            source_url: self.source_url,
        })
    }
}

/// A note to write. The order of its fields is part of [`Note::idempotency_key`].
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    pub content: String,
    pub visibility: String,
    pub space_id: Option<String>,
    pub tags: Vec<String>,
    pub source_url: Option<String>,
}

impl From<Memory> for Note {
    fn from(note: Memory) -> Self {
        Self {
            content: note.content,
            visibility: note.visibility.to_string(),
            space_id: note.space_id,
            tags: note.tags,
            source_url: note.source_url,
        }
    }
}

impl Note {
    /// Notes with the same are not written twice.
    pub fn identity(&self) -> Identity {
        digest(&[&self.visibility, self.space_id.as_deref().unwrap_or(""), &self.content])
    }

    /// The same for the same note in the same place of every run: a note that was written in the
    /// last 24 hours is not written again, even where its answer never came.
    ///
    /// A file may hold the same note more than once: `occurrences` counts them.
    pub fn idempotency_key(
        &self,
        organization_id: &str,
        occurrences: &mut HashMap<Identity, u32>,
    ) -> String {
        let canonical = serde_json::to_string(self).unwrap_or_default();
        let occurrence = occurrences.entry(digest(&[&canonical])).or_insert(0);
        *occurrence += 1;
        key("import-", &[organization_id, &canonical, &occurrence.to_string()])
    }
}

/// The same for the same notes in the same order, of every run.
pub fn batch_key<'a>(organization_id: &'a str, keys: impl Iterator<Item = &'a str>) -> String {
    let parts: Vec<_> = [organization_id].into_iter().chain(keys).collect();
    key("import-batch-", &parts)
}

/// An idempotency key made of these parts.
fn key(prefix: &str, parts: &[&str]) -> String {
    digest(parts).iter().fold(prefix.to_string(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    })
}

/// A hash of the parts, each with its length before it.
fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "cmo5w1c2t8zq4k7n3x9b6d0fh";

    fn spaces() -> Vec<Membership> {
        vec![Membership {
            id: ID.into(),
            slug: "platform-team".into(),
            name: "Platform team".into(),
            role: switchy::types::SpaceRole::Member,
        }]
    }

    fn meant(
        line: &str,
        visibility: Option<Visibility>,
        space: Option<&str>,
    ) -> Result<Note, String> {
        let audience = Audience { visibility, space: space.map(str::to_string) };
        let defaults = Defaults::new(&audience).expect("consistent options");
        Line::parse(line)?.resolve(&defaults, &spaces())
    }

    #[test]
    fn lines_are_counted_with_the_blank_ones() {
        assert_eq!(numbered("\u{feff}a\n\n  \r\nb\r\n"), [(1, "a"), (4, "b")]);
    }

    #[test]
    fn a_line_says_more_than_the_options() {
        let bare = r#"{"content":"x"}"#;
        let org = r#"{"content":"x","visibility":"org","spaceId":null,"more":1}"#;
        let seen = |note: Result<Note, String>| note.map(|note| (note.visibility, note.space_id));
        let id = || Some(ID.to_string());
        assert_eq!(seen(meant(bare, None, None)), Ok(("PRIVATE".into(), None)));
        assert_eq!(seen(meant(bare, None, Some("platform-team"))), Ok(("SPACE".into(), id())));
        assert_eq!(seen(meant(bare, Some(Visibility::Org), None)), Ok(("ORG".into(), None)));
        assert_eq!(seen(meant(org, None, Some("platform-team"))), Ok(("ORG".into(), None)));
        let named = r#"{"content":"x","spaceId":"platform-team"}"#;
        assert_eq!(seen(meant(named, None, None)), Ok(("SPACE".into(), id())));
        let nowhere = r#"{"content":"x","spaceId":"nowhere"}"#;
        assert_eq!(seen(meant(nowhere, None, None)), Err("you are in no Space `nowhere`".into()));
    }

    #[test]
    fn a_line_that_is_no_note_says_why() {
        let error = Line::parse(r#"{"contents":"x"}"#).err();
        assert_eq!(error.as_deref(), Some("not a note: missing field `content`"));
        assert!(Line::parse("x").is_err());
    }

    #[test]
    fn keys_are_stable_and_differ_by_organization_note_and_occurrence() {
        let note = meant(r#"{"content":"x"}"#, None, None).expect("a note");
        let other = meant(r#"{"content":"x","tags":["a"]}"#, None, None).expect("a note");
        let run = |organization: &str| {
            let mut seen = HashMap::new();
            [&note, &note, &other].map(|note| note.idempotency_key(organization, &mut seen))
        };
        let first = run("a");
        assert_eq!(first, run("a"));
        assert_eq!(
            first[0],
            "import-ba375f258b7c429b0f6714d171b883ffdc3a8e2e72cf4e61d964c72ad74fb21d"
        );
        let mut all: Vec<_> = first.into_iter().chain(run("b")).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    }
}
