//! Changing a note (contract E3).

use super::{
    Memory, MemoryData, MemoryPath, Visibility, check_content, check_no_space, check_source_url,
    example_content, example_url,
};
use crate::api::spaces::{check_tags, clean_tags, or_cleared};
use crate::api::{Call, Ctx};
use crate::auth::Scope;
use crate::http::{Answer, Check, Issues, Ok200, Reply, Unread};
use crate::search::{embedder::Urgency, owner};
use crate::store::ids::SpaceId;
use crate::store::memory as store;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::Deserialize;

/// What to change; what is absent stays.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MemoryUpdate {
    /// What it says now; it is embedded anew.
    #[schemars(length(min = 1, max = 10_000), regex(pattern = r"\S"), example = "example_content")]
    content: Option<String>,
    /// All of its tags from now on: at most 20, of 1 to 50 characters each; `[]` clears them.
    #[schemars(length(max = 20), inner(length(min = 1, max = 50), regex(pattern = r"\S")))]
    tags: Option<Vec<String>>,
    /// Where it comes from: an http or https URL; an empty text clears it.
    #[schemars(length(max = 2_048), regex(pattern = "^(https?://|$)"), example = "example_url")]
    source_url: Option<String>,
    /// Who sees it from now on.
    visibility: Option<Visibility>,
    /// The Space that it belongs to from now on: required when `visibility` becomes `SPACE`,
    /// allowed alone for a note that is `SPACE` already, and not for the others.
    space_id: Option<SpaceId>,
}

impl Check for MemoryUpdate {
    fn check(&self, issues: &mut Issues) {
        if let Some(content) = &self.content {
            check_content(issues, content);
        }
        if let Some(visibility) = self.visibility {
            check_no_space(issues, visibility, self.space_id.as_ref());
        }
        check_tags(issues, self.tags.as_deref().unwrap_or_default());
        if let Some(url) = self.source_url.as_deref().filter(|url| !url.is_empty()) {
            check_source_url(issues, url);
        }
    }
}

impl From<MemoryUpdate> for store::MemoryChange {
    fn from(change: MemoryUpdate) -> Self {
        store::MemoryChange {
            content: change.content,
            tags: change.tags.map(|tags| clean_tags(Some(tags))),
            source_url: change.source_url.map(or_cleared),
            visibility: change.visibility.map(Into::into),
            space_id: change.space_id,
        }
    }
}

/// Update a note
///
/// Its author may, as long as he may write where it is afterwards: in a Space as more than a
/// VIEWER. New content is embedded anew, and a new visibility holds at once, for lists and searches
/// alike. Without a change nothing happens.
#[endpoint { method = PATCH, path = "/api/memory/{memoryId}", tags = ["Memory"], operation_id = "memory_update" }]
pub(in crate::api) async fn memory_update(
    ctx: Ctx,
    path: Path<MemoryPath>,
    body: Unread<MemoryUpdate>,
) -> Answer<Ok200<MemoryData>> {
    let mut call = Call::writing(&ctx, Scope::MemoryWrite).await?;
    let body = call.body(body).await?;
    let id = path.into_inner().parse()?;
    let change: store::MemoryChange = body.into_inner()?.into();
    // before the transaction, as when a note is created
    let search = &call.app().search;
    let vectors = match &change.content {
        Some(content) => search.embed_note(content, &owner(call.caller(), Urgency::Single)).await?,
        None => None,
    };
    let embedded = vectors.as_ref().map(|v| v.embedded());
    let memory: Memory = call
        .write(async |tx| store::update(tx, &id, &change, embedded.as_ref()).await)
        .await?
        .try_into()?;
    if change.content.is_some() && vectors.is_none() {
        search.backfill().wake();
    }
    Reply::ok(MemoryData { memory })
}
