//! `list_spaces` and `get_space`.

use super::sessions::SessionView;
use crate::api::spaces::{DEFAULT_LIMIT, MAX_LIMIT, MAX_SLUG};
use crate::auth::SpaceRole;
use crate::error::{Error, Result};
use crate::http::Timestamp;
use crate::http::{Check, Issues};
use crate::mcp::server::cursor::{self, MAX_CURSOR};
use crate::mcp::server::paging::{Paged, page, rows_for};
use crate::mcp::server::truncation::{self, Cut, Truncation};
use crate::mcp::server::turn::{Call, end};
use crate::store::ids::SpaceId;
use crate::store::sessions::{self, Page};
use crate::store::spaces as store;
use crate::store::{Position, Tx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sessions that `get_space` shows.
const RECENT_SESSIONS: i64 = 10;

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

/// A slug that no Space can have is that of no Space.
pub fn checked_slug(slug: &str) -> Result<&str> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=MAX_SLUG).contains(&slug.len()) && slug.bytes().all(allowed) {
        Ok(slug)
    } else {
        Err(Error::not_found("Space"))
    }
}

/// A Space that the caller is a member of, and his role in it. To everybody else it does not exist
/// (contract A4, last row).
pub async fn space_by_slug(tx: &mut Tx, slug: &str) -> Result<(store::Space, SpaceRole)> {
    store::view_by_slug(tx, checked_slug(slug)?).await.map_err(|error| match error {
        Error::Forbidden(_) => Error::not_found("Space"),
        error => error,
    })
}

/// A Space.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpaceView {
    /// The Space's id.
    id: SpaceId,
    /// Its slug: what the other tools take.
    slug: String,
    /// Its name.
    name: String,
    /// What it is for.
    description: Option<String>,
    /// Words to find it by.
    tags: Vec<String>,
    /// Your role in it: `OWNER`, `EDITOR`, `MEMBER` or `VIEWER`; only where one Space is shown.
    role: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl SpaceView {
    fn of(space: store::Space, role: Option<SpaceRole>) -> Self {
        SpaceView {
            id: space.id,
            slug: space.slug,
            name: space.name,
            description: space.description,
            tags: space.tags,
            role: role.map(|role| role.as_str().to_owned()),
            created_at: space.created_at.into(),
            updated_at: space.updated_at.into(),
        }
    }
}

impl Cut for SpaceView {
    fn text(&mut self) -> &mut String {
        self.description.get_or_insert_default()
    }
}

/// Which Spaces.
#[derive(Deserialize, JsonSchema)]
pub struct ListSpaces {
    /// At most so many.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// The `nextCursor` of the page before.
    #[schemars(length(max = 100))]
    cursor: Option<String>,
}

impl Check for ListSpaces {
    fn check(&self, issues: &mut Issues) {
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
        issues.length("cursor", self.cursor.as_deref().unwrap_or_default(), 0..=MAX_CURSOR);
    }
}

/// Some Spaces.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpacesPage {
    /// Most recently updated first.
    spaces: Vec<SpaceView>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
    /// What was left out.
    #[serde(flatten)]
    truncation: Truncation,
}

/// A page of the Spaces that the caller is in.
pub async fn list_spaces(call: &Call<'_>, given: ListSpaces) -> Result<SpacesPage> {
    let after: Option<Position<SpaceId>> =
        given.cursor.as_deref().map(cursor::decode).transpose()?;
    let mut tx = call.begin().await?;
    let outcome = store::list_after(&mut tx, after.as_ref(), rows_for(given.limit)).await;
    let spaces = end(tx, outcome)?;
    let place = |space: &store::Space| Position { at: space.updated_at, id: space.id.clone() };
    let view = |space| SpaceView::of(space, None);
    let Paged { views, next_cursor, truncation } = page(spaces, given.limit, place, view)?;
    Ok(SpacesPage { spaces: views, next_cursor, truncation })
}

/// Which Space.
#[derive(Deserialize, JsonSchema)]
pub struct GetSpace {
    /// Its slug.
    #[schemars(length(min = 1, max = 100))]
    slug: String,
}

impl Check for GetSpace {}

/// A Space and what happens in it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpaceDetails {
    /// The Space.
    space: SpaceView,
    /// Its most recently updated sessions, at most ten.
    recent_sessions: Vec<SessionView>,
    /// What was left out.
    #[serde(flatten)]
    truncation: Truncation,
}

/// A Space by slug, with its most recent sessions.
pub async fn space_with_sessions(tx: &mut Tx, slug: &str) -> Result<(SpaceView, Vec<SessionView>)> {
    let (space, role) = space_by_slug(tx, slug).await?;
    let page = Page { limit: RECENT_SESSIONS, ..Page::default() };
    let sessions = sessions::list_page(tx, &space, &page).await?;
    let sessions = sessions.into_iter().map(SessionView::from).collect();
    Ok((SpaceView::of(space, Some(role)), sessions))
}

/// One Space.
pub async fn get_space(call: &Call<'_>, given: GetSpace) -> Result<SpaceDetails> {
    let mut tx = call.begin().await?;
    let outcome = space_with_sessions(&mut tx, &given.slug).await;
    let (space, sessions) = end(tx, outcome)?;
    let shown = serde_json::to_value(&space).map_err(Error::internal)?;
    let (recent_sessions, truncation) = truncation::fit(
        sessions,
        truncation::size_of(&shown),
        "`list_sessions` pages through them",
    )?;
    Ok(SpaceDetails { space, recent_sessions, truncation })
}
