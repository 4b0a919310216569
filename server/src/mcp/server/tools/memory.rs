//! `search_memory` and `add_memory`.

use super::Tool;
use super::spaces::space_by_slug;
use crate::api::memory::{MAX_QUERY, check_content, check_source_url, right_to};
use crate::api::spaces::MAX_LIMIT;
use crate::error::Result;
use crate::http::Timestamp;
use crate::http::{Check, Issues};
use crate::mcp::server::error::CallError;
use crate::mcp::server::once;
use crate::mcp::server::truncation::{self, Cut, Truncation};
use crate::mcp::server::turn::{Call, end};
use crate::search::embedder::Urgency;
use crate::search::{self, Pipeline, Question};
use crate::store::ids::{MemoryId, SpaceId, UserId};
use crate::store::memory::{self as store, NewMemory};
use crate::store::search::Filter;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Results when the call does not say how many.
const DEFAULT_RESULTS: u32 = 10;

fn default_results() -> u32 {
    DEFAULT_RESULTS
}

/// Who sees a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NoteVisibility {
    /// The user alone.
    Private,
    /// The members of the Space.
    Space,
    /// Everybody in the organization.
    Org,
}

impl From<NoteVisibility> for store::Visibility {
    fn from(visibility: NoteVisibility) -> Self {
        match visibility {
            NoteVisibility::Private => store::Visibility::Private,
            NoteVisibility::Space => store::Visibility::Space,
            NoteVisibility::Org => store::Visibility::Org,
        }
    }
}

/// A note.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The note's id; the resource `switchy://memory/{id}` is the same note.
    pub id: MemoryId,
    /// What it says.
    pub content: String,
    /// Who sees it: `PRIVATE`, `SPACE` or `ORG`.
    visibility: String,
    /// The Space that it belongs to, if any.
    space_id: Option<SpaceId>,
    /// The user who wrote it, or in whose name it was written.
    author_user_id: UserId,
    /// The member in whose name somebody else's key wrote it: its author. `null` when the author's
    /// own key did.
    on_behalf_of: Option<UserId>,
    /// The user whose key wrote it on the author's behalf; `null` when the author's own did.
    written_by_user_id: Option<UserId>,
    /// Words to find it by.
    tags: Vec<String>,
    /// Where it comes from.
    source_url: Option<String>,
    /// When it was written.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
    /// How well it fits, from 0 to 1, relative to the other results of the search.
    score: Option<f64>,
}

impl Note {
    fn of(memory: store::Memory, score: Option<f64>) -> Self {
        Note {
            id: memory.id,
            content: memory.content,
            visibility: memory.visibility,
            space_id: memory.space_id,
            on_behalf_of: memory.written_by_user_id.as_ref().map(|_| memory.author_user_id.clone()),
            written_by_user_id: memory.written_by_user_id,
            author_user_id: memory.author_user_id,
            tags: memory.tags,
            source_url: memory.source_url,
            created_at: memory.created_at.into(),
            updated_at: memory.updated_at.into(),
            score,
        }
    }
}

impl Cut for Note {
    fn text(&mut self) -> &mut String {
        &mut self.content
    }
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchMemory {
    /// A question, or words.
    #[schemars(length(min = 1, max = 10_000))]
    query: String,
    /// Only among the notes of this Space, by its slug.
    #[schemars(length(min = 1, max = 100))]
    space_slug: Option<String>,
    /// At most so many results.
    #[serde(default = "default_results")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

impl Check for SearchMemory {
    fn check(&self, issues: &mut Issues) {
        issues.length("query", self.query.trim(), 1..=MAX_QUERY);
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
    }
}

/// What was found.
#[derive(Serialize, JsonSchema)]
pub struct FoundMemories {
    /// Best first.
    memories: Vec<Note>,
    /// The embedding model is not available: these were found by their words alone.
    degraded: bool,
    /// What was left out.
    #[serde(flatten)]
    truncation: Truncation,
}

/// The best notes, and whether they were found by words alone.
pub async fn search(
    call: &Call<'_>,
    query: &str,
    space_slug: Option<&str>,
    limit: usize,
) -> Result<(Vec<Note>, bool)> {
    let engine = call.server.search;
    let embedding = engine.embed_query(&call.caller.org_id, query).await?;
    let mut tx = call.begin().await?;
    let outcome = async {
        let space_id = match space_slug {
            Some(slug) => Some(space_by_slug(&mut tx, slug).await?.0.id),
            None => None,
        };
        let question = Question {
            text: query,
            filter: &Filter { space_id, ..Filter::default() },
            limit,
            min_score: 0.0,
            pipeline: Pipeline::default(),
        };
        engine.search(&mut tx, &question, embedding.as_deref()).await
    }
    .await;
    let ranked = end(tx, outcome)?;
    let found = engine.finish(ranked, query).await;
    let notes = found.hits.into_iter().map(|hit| Note::of(hit.memory, Some(hit.score))).collect();
    Ok((notes, found.degraded))
}

/// Searches.
pub async fn search_memory(call: &Call<'_>, given: SearchMemory) -> Result<FoundMemories> {
    let limit = usize::try_from(given.limit).unwrap_or(usize::MAX);
    let (notes, degraded) =
        search(call, given.query.trim(), given.space_slug.as_deref(), limit).await?;
    let (memories, truncation) =
        truncation::fit(notes, 0, "ask for less with `limit`, or something narrower")?;
    Ok(FoundMemories { memories, degraded, truncation })
}

/// A new note.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddMemory {
    /// What it says: plain text.
    #[schemars(length(min = 1, max = 10_000))]
    content: String,
    /// Who will see it.
    visibility: NoteVisibility,
    /// The slug of the Space that it belongs to: required with `SPACE`, and only allowed there.
    #[schemars(length(min = 1, max = 100))]
    space_slug: Option<String>,
    /// Where it comes from: an http or https URL.
    #[schemars(length(max = 2_048))]
    source_url: Option<String>,
}

impl Check for AddMemory {
    fn check(&self, issues: &mut Issues) {
        check_content(issues, &self.content);
        match (self.visibility, &self.space_slug) {
            (NoteVisibility::Space, None) => {
                issues.add("spaceSlug", "required", "is required when visibility is SPACE");
            }
            (NoteVisibility::Private | NoteVisibility::Org, Some(_)) => {
                let message = "is only allowed when visibility is SPACE";
                issues.add("spaceSlug", "not_allowed", message);
            }
            _ => {}
        }
        if let Some(url) = &self.source_url {
            check_source_url(issues, url);
        }
    }
}

/// The note that was written.
#[derive(Serialize, JsonSchema)]
pub struct WrittenMemory {
    /// The note.
    memory: Note,
    /// What was left out.
    #[serde(flatten)]
    truncation: Truncation,
}

/// Writes a note.
pub async fn add_memory(
    call: &Call<'_>,
    given: JsonObject,
    key: Option<String>,
) -> Result<Value, CallError> {
    let claimed = once::claimed(call, Tool::AddMemory, &given, key);
    let note: AddMemory = super::arguments(given)?;
    if note.visibility == NoteVisibility::Private {
        call.require_actor("writing a PRIVATE note needs the header X-Switchy-Actor-User-Id")?;
        call.require_consent()?;
    }
    // before the transaction, as in the REST API: no connection is to wait for the model
    let owner = search::owner(&call.caller, Urgency::Single);
    let vectors = call.server.search.embed_note(&note.content, &owner).await?;
    once::create(call, claimed, async |tx| {
        let space_id = match &note.space_slug {
            Some(slug) => Some(space_by_slug(tx, slug).await?.0.id),
            None => None,
        };
        let new = NewMemory {
            visibility: note.visibility.into(),
            space_id,
            content: note.content,
            tags: Vec::new(),
            source_url: note.source_url,
        };
        let embedded = vectors.as_ref().map(|v| v.embedded());
        let memory = store::create(tx, &new, embedded.as_ref()).await?;
        let right = right_to(&memory);
        let (memory, truncation) = truncation::fit_one(Note::of(memory, None))?;
        Ok((WrittenMemory { memory, truncation }, right))
    })
    .await
}
