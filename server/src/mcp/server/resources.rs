//! Notes and Spaces as resources, which clients show and attach by hand.

use super::cursor;
use super::error::CallError;
use super::tools::sessions::SessionView;
use super::tools::spaces::{self as space_tools, SpaceView};
use super::truncation;
use super::turn::{Call, end};
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::store::ids::MemoryId;
use crate::store::memory::{self, Filter, Memory};
use crate::store::spaces::{self, Space};
use rmcp::model::{
    ListResourcesResult, MetaObject, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate,
};
use serde_json::{Value, json};

const MEMORY: &str = "switchy://memory/";
const SPACE: &str = "switchy://spaces/";
/// Notes on a page of the list.
const PAGE: i64 = 50;
/// Most Spaces at its beginning; `list_spaces` pages through all.
const SPACES: u32 = 200;
/// How much of a note serves as its name, in characters.
const NAME_LENGTH: usize = 60;

/// What a URI names.
pub enum Uri {
    /// A note.
    Memory(MemoryId),
    /// A Space, by slug.
    Space(String),
}

impl Uri {
    /// 404 for what can be nothing of ours.
    pub fn parse(uri: &str) -> Result<Self> {
        let absent = || Error::not_found("resource");
        if let Some(id) = uri.strip_prefix(MEMORY) {
            return id.parse().map(Uri::Memory).map_err(|_| absent());
        }
        let slug = uri.strip_prefix(SPACE).ok_or_else(absent)?;
        Ok(Uri::Space(space_tools::checked_slug(slug).map_err(|_| absent())?.to_owned()))
    }

    /// What reading it takes.
    pub fn scope(&self) -> Scope {
        match self {
            Uri::Memory(_) => Scope::McpMemoryRead,
            Uri::Space(_) => Scope::McpSpacesRead,
        }
    }
}

/// How the URIs are made.
pub fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{MEMORY}{{id}}"), "memory")
            .with_title("Note")
            .with_description("A note of the team's memory, by id")
            .with_mime_type("text/plain"),
        ResourceTemplate::new(format!("{SPACE}{{slug}}"), "space")
            .with_title("Space")
            .with_description("A Space with its most recent sessions, by slug")
            .with_mime_type("application/json"),
    ]
}

/// The URI of a note.
pub fn memory_uri(id: &MemoryId) -> String {
    format!("{MEMORY}{id}")
}

/// Everything that there is to see: the Spaces, at most [`SPACES`], then the notes, newest first. What the key's scopes do not
/// allow is left out: clients ask for this list by themselves.
pub async fn list(call: &Call<'_>, cursor: Option<&str>) -> Result<ListResourcesResult, CallError> {
    let allowed = |scope| call.caller.scopes.allow(scope);
    let foreign = || Error::invalid(["cursor"], "invalid", cursor::FOREIGN);
    let before: Option<MemoryId> = cursor.map(str::parse).transpose().map_err(|_| foreign())?;
    let mut found = Vec::new();
    let mut next = None;
    let mut tx = call.begin().await?;
    let outcome = async {
        if before.is_none() && allowed(Scope::McpSpacesRead) {
            let spaces = spaces::memberships(&mut tx, SPACES).await?;
            found.extend(spaces.into_iter().map(|(space, _)| of_space(space)));
        }
        if allowed(Scope::McpMemoryRead) {
            let filter = Filter { limit: PAGE, before, ..Filter::default() };
            let (notes, _) = memory::list(&mut tx, &filter).await.map_err(|e| match e {
                Error::NotFound(_) => foreign(), // deleted since
                error => error,
            })?;
            let full = i64::try_from(notes.len()) == Ok(PAGE);
            next = notes.last().filter(|_| full).map(|note| note.id.to_string());
            found.extend(notes.into_iter().map(of_note));
        }
        Ok(())
    }
    .await;
    end(tx, outcome)?;
    let mut result = ListResourcesResult::with_all_items(found);
    result.next_cursor = next;
    Ok(result)
}

fn of_space(space: Space) -> Resource {
    let resource = Resource::new(format!("{SPACE}{}", space.slug), space.slug)
        .with_title(space.name)
        .with_mime_type("application/json");
    match space.description {
        Some(description) => resource.with_description(description),
        None => resource,
    }
}

fn of_note(note: Memory) -> Resource {
    let line = note.content.trim().lines().next().unwrap_or_default();
    let mut name: String = line.chars().take(NAME_LENGTH).collect();
    if name.len() < note.content.trim().len() {
        name.push('…');
    }
    Resource::new(memory_uri(&note.id), note.id.to_string())
        .with_title(name)
        .with_mime_type("text/plain")
        .with_size(note.content.len() as u64)
}

/// One note or Space.
pub async fn read(
    call: &Call<'_>,
    resource: &Uri,
    uri: &str,
) -> Result<ReadResourceResult, CallError> {
    let mut tx = call.begin().await?;
    let outcome = async {
        Ok(match resource {
            Uri::Memory(id) => {
                let note = memory::view(&mut tx, id).await?;
                let about = json!({
                    "visibility": note.visibility,
                    "spaceId": note.space_id,
                    "authorUserId": note.author_user_id,
                    "onBehalfOf": note.written_by_user_id.as_ref().map(|_| &note.author_user_id),
                    "writtenByUserId": note.written_by_user_id,
                    "tags": note.tags,
                    "sourceUrl": note.source_url,
                    "createdAt": crate::http::Timestamp(note.created_at),
                });
                let meta = about.as_object().cloned().unwrap_or_default();
                ResourceContents::text(note.content, uri).with_meta(MetaObject(meta))
            }
            Uri::Space(slug) => {
                let (space, sessions) = space_tools::space_with_sessions(&mut tx, slug).await?;
                ResourceContents::text(space_text(space, sessions)?, uri)
                    .with_mime_type("application/json")
            }
        })
    }
    .await;
    let contents = end(tx, outcome).map_err(|error| match error {
        Error::NotFound(_) => Error::not_found("resource"),
        error => error,
    })?;
    Ok(ReadResourceResult::new(vec![contents]))
}

fn space_text(space: SpaceView, sessions: Vec<SessionView>) -> Result<String> {
    let space = serde_json::to_value(space).map_err(Error::internal)?;
    let (sessions, truncation) = truncation::fit(
        sessions,
        truncation::size_of(&space),
        "`list_sessions` pages through them",
    )?;
    let mut text = json!({ "space": space, "recentSessions": sessions });
    if let Some(notice) = truncation.notice {
        text["truncated"] = Value::Bool(true);
        text["notice"] = Value::String(notice);
    }
    Ok(text.to_string())
}
