//! The team's memory (contract B4): notes, and semantic search over them.

pub(super) mod batch;
pub(super) mod update;

use super::spaces::{MAX_LIMIT, MAX_TAG, check_tags, clean_tags, default_limit};
use super::{Call, Ctx, Kept};
use crate::auth::{Scope, SpaceRole};
use crate::error::{Error, Result};
use crate::http::{
    Answer, Check, Created, IdempotencyKey, Issues, NoContent, Ok200, Params, Reply, Timestamp,
    Unread,
};
use crate::search::embedder::Urgency;
use crate::search::{self, Highlight, Pipeline, Question};
use crate::store::ids::{MemoryId, OrgId, SpaceId, UserId};
use crate::store::memory as store;
use crate::store::rights::Right;
use crate::store::search::Filter;
use crate::store::spaces;
use chrono::Datelike;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest note, in characters.
pub const MAX_CONTENT: usize = 10_000;
/// Longest query, in characters.
pub const MAX_QUERY: usize = 10_000;
/// Years in which notes are written, as far as filters go.
const MOMENTS: std::ops::RangeInclusive<i32> = 1..=9_999;
/// Longest `sourceUrl`, in characters.
pub const MAX_SOURCE_URL: usize = 2_048;

/// Who sees a note: its author (`PRIVATE`), the members of its Space (`SPACE`), or everybody in the
/// organization (`ORG`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Visibility {
    /// The author alone, whatever anybody's role.
    Private,
    /// The members of the Space.
    Space,
    /// Every member of the organization.
    Org,
}

impl From<Visibility> for store::Visibility {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Private => store::Visibility::Private,
            Visibility::Space => store::Visibility::Space,
            Visibility::Org => store::Visibility::Org,
        }
    }
}

impl TryFrom<&str> for Visibility {
    type Error = Error;
    fn try_from(text: &str) -> Result<Self> {
        match text {
            "PRIVATE" => Ok(Visibility::Private),
            "SPACE" => Ok(Visibility::Space),
            "ORG" => Ok(Visibility::Org),
            other => Err(Error::internal(format!("the database holds visibility {other}"))),
        }
    }
}

/// A note.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Memory {
    /// The note's id.
    id: MemoryId,
    /// The organization that it belongs to.
    organization_id: OrgId,
    /// The Space that it belongs to; only with `SPACE`.
    space_id: Option<SpaceId>,
    /// The user who wrote it, or in whose name it was written.
    author_user_id: UserId,
    /// The member in whose name somebody else's key wrote it: its author. `null` when the author's
    /// own key did.
    on_behalf_of: Option<UserId>,
    /// The user whose key wrote it on the author's behalf; `null` when the author's own did.
    written_by_user_id: Option<UserId>,
    /// Who sees it.
    visibility: Visibility,
    /// What it says.
    #[schemars(example = "example_content")]
    content: String,
    /// Words to find it by.
    tags: Vec<String>,
    /// Where it comes from.
    source_url: Option<String>,
    /// When it was written.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Option<Timestamp>,
}

fn example_content() -> &'static str {
    "Staging deploys happen on Tuesdays; the release captain holds the lock."
}

impl TryFrom<store::Memory> for Memory {
    type Error = Error;
    fn try_from(memory: store::Memory) -> Result<Self> {
        Ok(Memory {
            visibility: memory.visibility.as_str().try_into()?,
            id: memory.id,
            organization_id: memory.org_id,
            space_id: memory.space_id,
            on_behalf_of: memory.written_by_user_id.as_ref().map(|_| memory.author_user_id.clone()),
            written_by_user_id: memory.written_by_user_id,
            author_user_id: memory.author_user_id,
            content: memory.content,
            tags: memory.tags,
            source_url: memory.source_url,
            created_at: memory.created_at.into(),
            updated_at: Some(memory.updated_at.into()),
        })
    }
}

/// The rights that it takes to be shown again a note that one has written.
pub(crate) fn right_to(memory: &store::Memory) -> Right {
    match &memory.space_id {
        Some(space) => Right::Space(space.clone(), SpaceRole::Member),
        None => Right::Caller,
    }
}

/// One note.
#[derive(Serialize, JsonSchema)]
struct MemoryData {
    /// The note.
    memory: Memory,
}

/// Some notes.
#[derive(Serialize, JsonSchema)]
struct MemoryPage {
    /// Newest first.
    memories: Vec<Memory>,
    /// How many notes match in all.
    total: u32,
}

/// Which notes.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MemoryFilter {
    /// Only of this visibility; all that the caller can see otherwise.
    visibility: Option<Visibility>,
    /// Only the `SPACE` notes of this Space.
    space_id: Option<SpaceId>,
    /// Only notes with this tag.
    #[schemars(length(min = 1, max = 50), example = "example_tag")]
    tag: Option<String>,
    /// Only notes by this author.
    author_user_id: Option<UserId>,
    /// Only notes older than this one: the id of the last note of the page before.
    before: Option<MemoryId>,
    /// At most so many.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

fn example_tag() -> &'static str {
    "deploys"
}

impl Check for MemoryFilter {
    fn check(&self, issues: &mut Issues) {
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
        if let Some(tag) = &self.tag {
            issues.length("tag", tag, 1..=MAX_TAG);
        }
    }
}

impl From<MemoryFilter> for store::Filter {
    fn from(filter: MemoryFilter) -> Self {
        store::Filter {
            visibility: filter.visibility.map(Into::into),
            space_id: filter.space_id,
            tag: filter.tag,
            author_user_id: filter.author_user_id,
            before: filter.before,
            limit: filter.limit.into(),
        }
    }
}

/// A new note.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MemoryCreate {
    /// What it says: plain text. It is embedded, and found by its meaning.
    #[schemars(length(min = 1, max = 10_000), regex(pattern = r"\S"), example = "example_content")]
    content: String,
    /// Who sees it.
    visibility: Visibility,
    /// The Space that it belongs to: required with `SPACE`, and only allowed there.
    space_id: Option<SpaceId>,
    /// Words to find it by: at most 20, of 1 to 50 characters each.
    #[schemars(length(max = 20), inner(length(min = 1, max = 50), regex(pattern = r"\S")))]
    tags: Option<Vec<String>>,
    /// Where it comes from: an http or https URL.
    #[schemars(length(max = 2_048), url, example = "example_url")]
    source_url: Option<String>,
}

fn example_url() -> &'static str {
    "https://wiki.example.com/deploys"
}

/// A note's text is kept as it was sent, blanks at its ends included, but not if there is nothing
/// else.
pub(crate) fn check_content(issues: &mut Issues, content: &str) {
    let blank = content.trim().is_empty();
    issues.length("content", if blank { "" } else { content }, 1..=MAX_CONTENT);
}

/// A Space belongs to `SPACE` notes alone.
fn check_no_space(issues: &mut Issues, visibility: Visibility, space_id: Option<&SpaceId>) {
    if visibility != Visibility::Space && space_id.is_some() {
        issues.add("spaceId", "not_allowed", "is only allowed when visibility is SPACE");
    }
}

pub(crate) fn check_source_url(issues: &mut Issues, url: &str) {
    issues.length("sourceUrl", url, 0..=MAX_SOURCE_URL);
    let parsed = url::Url::parse(url).ok();
    if !parsed.is_some_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host()) {
        issues.add("sourceUrl", "invalid_url", "must be an http or https URL");
    }
}

impl Check for MemoryCreate {
    fn check(&self, issues: &mut Issues) {
        check_content(issues, &self.content);
        if self.visibility == Visibility::Space && self.space_id.is_none() {
            issues.add("spaceId", "required", "is required when visibility is SPACE");
        }
        check_no_space(issues, self.visibility, self.space_id.as_ref());
        check_tags(issues, self.tags.as_deref().unwrap_or_default());
        if let Some(url) = &self.source_url {
            check_source_url(issues, url);
        }
    }
}

impl From<MemoryCreate> for store::NewMemory {
    fn from(new: MemoryCreate) -> Self {
        store::NewMemory {
            visibility: new.visibility.into(),
            space_id: new.space_id,
            content: new.content,
            tags: clean_tags(new.tags),
            source_url: new.source_url,
        }
    }
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MemorySearch {
    /// A question, or words.
    #[schemars(length(min = 1, max = 10_000), regex(pattern = r"\S"), example = "example_query")]
    query: String,
    /// Only among the `SPACE` notes of this Space.
    space_id: Option<SpaceId>,
    /// Only among notes of this visibility; all that the caller can see otherwise.
    visibility: Option<Visibility>,
    /// Only among notes by this author.
    author_user_id: Option<UserId>,
    /// Only among notes that have all of these tags: at most 20, of 1 to 50 characters each.
    #[schemars(length(max = 20), inner(length(min = 1, max = 50), regex(pattern = r"\S")))]
    tags: Option<Vec<String>>,
    /// Only among notes written at this moment or later.
    created_after: Option<Timestamp>,
    /// Only among notes written before this moment.
    created_before: Option<Timestamp>,
    /// Leaves out what fits worse than this.
    #[schemars(range(min = 0.0, max = 1.0))]
    min_score: Option<f64>,
    /// At most so many results.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

fn example_query() -> &'static str {
    "when do we deploy to staging?"
}

/// A period that is none, or out of all proportion, would find nothing: better to say so.
pub(super) fn check_period(
    issues: &mut Issues,
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
) {
    for (field, at) in [("createdAfter", created_after), ("createdBefore", created_before)] {
        if at.is_some_and(|at| !MOMENTS.contains(&at.0.year())) {
            issues.add(field, "out_of_range", "must be between the years 1 and 9999");
        }
    }
    if let (Some(after), Some(before)) = (created_after, created_before)
        && after >= before
    {
        issues.add("createdBefore", "out_of_range", "must be later than createdAfter");
    }
}

impl Check for MemorySearch {
    fn check(&self, issues: &mut Issues) {
        issues.length("query", self.query.trim(), 1..=MAX_QUERY);
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
        check_tags(issues, self.tags.as_deref().unwrap_or_default());
        check_period(issues, self.created_after, self.created_before);
        if self.min_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            issues.add("minScore", "out_of_range", "must be between 0 and 1");
        }
    }
}

/// A sentence of a note that shows why it was found.
#[derive(Serialize, JsonSchema)]
struct MemoryHighlight {
    /// What it says.
    text: String,
    /// Where it begins in `content`, in characters (Unicode scalar values).
    start: u32,
    /// Where it ends, exclusive.
    end: u32,
}

impl From<Highlight> for MemoryHighlight {
    fn from(highlight: Highlight) -> Self {
        let offset = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        MemoryHighlight {
            start: offset(highlight.start),
            end: offset(highlight.end),
            text: highlight.text,
        }
    }
}

/// A note that was found.
#[derive(Serialize, JsonSchema)]
struct MemoryHit {
    /// The note.
    memory: Memory,
    /// How well it fits, relative to the other results.
    #[schemars(range(min = 0.0, max = 1.0))]
    score: f64,
    /// The sentences that show why, in the note's order.
    #[schemars(length(max = 3))]
    highlights: Vec<MemoryHighlight>,
}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct MemoryResults {
    /// Best first.
    results: Vec<MemoryHit>,
    /// The embedding model is not available: these were found by their words alone.
    degraded: bool,
}

/// A note by id.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MemoryPath {
    /// The note's id.
    #[schemars(with = "MemoryId")]
    memory_id: String,
}

impl MemoryPath {
    fn parse(&self) -> Result<MemoryId> {
        self.memory_id.parse().map_err(|_| Error::not_found("memory"))
    }
}

/// List notes
///
/// The notes that the caller can see, newest first: his own private ones, those of his Spaces, and
/// the organization's. `before` pages through them.
#[endpoint { method = GET, path = "/api/memory", tags = ["Memory"], operation_id = "memory_list" }]
pub(super) async fn memory_list(
    ctx: Ctx,
    query: Params<MemoryFilter>,
) -> Answer<Ok200<MemoryPage>> {
    let mut call = Call::reading(&ctx, Scope::MemoryRead);
    let filter = call.valid(query.into_inner()).await?.into();
    let (memories, total) = call.read(async |tx| store::list(tx, &filter).await).await?;
    Reply::ok(MemoryPage {
        memories: memories.into_iter().map(Memory::try_from).collect::<Result<_>>()?,
        total: u32::try_from(total).unwrap_or(u32::MAX),
    })
}

/// Write a note
///
/// `PRIVATE` notes are for their author alone. `SPACE` notes need membership in the Space, as more
/// than a VIEWER. `ORG` notes are for every member of the organization.
#[endpoint { method = POST, path = "/api/memory", tags = ["Memory"], operation_id = "memory_create" }]
pub(super) async fn memory_create(
    ctx: Ctx,
    key: IdempotencyKey,
    body: Unread<MemoryCreate>,
) -> Answer<Created<MemoryData>> {
    let mut call = Call::writing(&ctx, Scope::MemoryWrite).await?;
    let body = call.body(body).await?;
    // before the transaction: embedding takes longer than everything else together, and a
    // connection of the pool is not to wait for it
    let vectors = match body.peek() {
        Some(new) => {
            let owner = search::owner(call.caller(), Urgency::Single);
            call.app().search.embed_note(&new.content, &owner).await?
        }
        None => None,
    };
    let answer = call
        .create(key, body, async |tx, body| {
            let new = body.into();
            let embedded = vectors.as_ref().map(|v| v.embedded());
            let memory = store::create(tx, &new, embedded.as_ref()).await?;
            let location = format!("{}/memory/{}", super::PREFIX, memory.id);
            let right = right_to(&memory);
            let data = MemoryData { memory: memory.try_into()? };
            Ok(Kept::new(&data, right)?.at(location))
        })
        .await;
    if answer.is_ok() && vectors.is_none() {
        // once more, now that the note can be seen
        call.app().search.backfill().wake();
    }
    answer
}

/// View a note
///
/// By id. One that the caller cannot see is the same as none.
#[endpoint { method = GET, path = "/api/memory/{memoryId}", tags = ["Memory"], operation_id = "memory_view" }]
pub(super) async fn memory_view(ctx: Ctx, path: Path<MemoryPath>) -> Answer<Ok200<MemoryData>> {
    let mut call = Call::reading(&ctx, Scope::MemoryRead);
    let id = call.valid(path.into_inner().parse()).await?;
    let memory = call.read(async |tx| store::view(tx, &id).await).await?;
    Reply::ok(MemoryData { memory: memory.try_into()? })
}

/// Delete a note
///
/// For good. Its author may; a `SPACE` note also the Space's OWNER and EDITOR, an `ORG` note also
/// the organization's OWNER and ADMIN.
#[endpoint { method = DELETE, path = "/api/memory/{memoryId}", tags = ["Memory"], operation_id = "memory_delete" }]
pub(super) async fn memory_delete(ctx: Ctx, path: Path<MemoryPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::MemoryWrite).await?;
    let id = path.into_inner().parse()?;
    call.write(async |tx| store::delete(tx, &id).await).await?;
    Reply::no_content()
}

/// Search notes
///
/// By meaning and by words, among the notes that the caller can see, best first. Counts as a read.
/// Notes that do not pass the filters are not looked at; `minScore` looks at the result.
#[endpoint { method = POST, path = "/api/memory/search", tags = ["Memory"], operation_id = "memory_search" }]
pub(super) async fn memory_search(
    ctx: Ctx,
    body: Unread<MemorySearch>,
) -> Answer<Ok200<MemoryResults>> {
    let mut call = Call::reading(&ctx, Scope::MemoryRead);
    let body = call.body(body).await?;
    let wanted = body.into_inner()?;
    let query = wanted.query.trim();
    let search = &call.app().search;
    let embedding = search.embed_query(&call.call().await?.caller().org_id, query).await?;
    let filter = Filter {
        space_id: wanted.space_id,
        visibility: wanted.visibility.map(Into::into),
        author_user_id: wanted.author_user_id,
        tags: clean_tags(wanted.tags),
        created_after: wanted.created_after.map(|at| at.0),
        created_before: wanted.created_before.map(|at| at.0),
    };
    let question = Question {
        text: query,
        filter: &filter,
        limit: usize::try_from(wanted.limit).unwrap_or(usize::MAX),
        min_score: wanted.min_score.unwrap_or(0.0),
        pipeline: Pipeline::default(),
    };
    let ranked = call
        .read(async |tx| {
            if let Some(space) = &filter.space_id {
                spaces::view(tx, space).await?;
            }
            search.search(tx, &question, embedding.as_deref()).await
        })
        .await?;
    let found = search.finish(ranked, query).await;
    let results = found
        .hits
        .into_iter()
        .map(|hit| {
            Ok(MemoryHit {
                memory: hit.memory.try_into()?,
                score: hit.score,
                highlights: hit.highlights.into_iter().map(Into::into).collect(),
            })
        })
        .collect::<Result<_>>()?;
    Reply::ok(MemoryResults { results, degraded: found.degraded })
}
