//! Spaces (contract B1). The URL says `projects`.

use super::sessions::MAX_MODEL;
use super::{Call, Ctx, Kept};
use crate::auth::{Scope, SpaceRole};
use crate::error::{Error, Result};
use crate::http::{
    Answer, Check, Created, IdempotencyKey, Issues, NoContent, Ok200, Params, Reply, Timestamp,
    Unread,
};
use crate::store::ids::{OrgId, SpaceId};
use crate::store::rights::Right;
use crate::store::spaces as store;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name of a Space, in characters.
pub const MAX_NAME: usize = 100;
/// Longest description of a Space, in characters.
pub const MAX_DESCRIPTION: usize = 1_000;
/// Most tags of a Space or a note.
pub const MAX_TAGS: usize = 20;
/// Longest tag, in characters.
pub const MAX_TAG: usize = 50;
/// Longest slug, in characters.
pub const MAX_SLUG: usize = 100;
/// Most elements of one page, and the number when the request names none.
pub const MAX_LIMIT: u32 = 100;
/// See [`MAX_LIMIT`].
pub const DEFAULT_LIMIT: u32 = 20;
/// Highest page number: far past any real list, and safe to multiply.
pub const MAX_PAGE: u32 = 1_000_000;

/// A shared workspace of an organization.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Space {
    /// The Space's id; `/projects/{projectId}` takes it.
    id: SpaceId,
    /// Its slug, unique in the organization; `/spaces/{slug}` takes it.
    #[schemars(example = "example_slug")]
    slug: String,
    /// Its name.
    #[schemars(example = "example_name")]
    name: String,
    /// What it is for.
    description: Option<String>,
    /// Words to find it by.
    tags: Vec<String>,
    /// The organization that it belongs to.
    organization_id: OrgId,
    /// The model that new sessions use unless they name one.
    default_model: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Option<Timestamp>,
}

fn example_slug() -> &'static str {
    "platform-team"
}

fn example_name() -> &'static str {
    "Platform team"
}

impl From<store::Space> for Space {
    fn from(space: store::Space) -> Self {
        Space {
            id: space.id,
            slug: space.slug,
            name: space.name,
            description: space.description,
            tags: space.tags,
            organization_id: space.org_id,
            default_model: space.default_model,
            created_at: space.created_at.into(),
            updated_at: Some(space.updated_at.into()),
        }
    }
}

/// One Space.
#[derive(Serialize, JsonSchema)]
struct SpaceData {
    /// The Space.
    project: Space,
}

/// One page of Spaces.
#[derive(Serialize, JsonSchema)]
struct SpacePage {
    /// The Spaces of this page.
    projects: Vec<Space>,
    /// The page's number, from 1.
    page: u32,
    /// The page's size.
    limit: u32,
    /// How many Spaces there are on all pages.
    total: u32,
}

/// Which page.
#[derive(Deserialize, JsonSchema)]
struct PageParams {
    /// The page's number, from 1.
    #[serde(default = "first_page")]
    #[schemars(range(min = 1, max = 1_000_000))]
    page: u32,
    /// Spaces on a page.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

fn first_page() -> u32 {
    1
}

/// When the request names none.
pub(super) fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

impl Check for PageParams {
    fn check(&self, issues: &mut Issues) {
        issues.range("page", self.page.into(), 1..=MAX_PAGE.into());
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
    }
}

/// A new Space.
#[derive(Deserialize, JsonSchema)]
struct SpaceCreate {
    /// Its name; the slug is made from it and never changes.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"\S"), example = "example_name")]
    name: String,
    /// What it is for.
    #[schemars(length(max = 1_000))]
    description: Option<String>,
    /// Words to find it by: at most 20, of 1 to 50 characters each.
    #[schemars(length(max = 20), inner(length(min = 1, max = 50), regex(pattern = r"\S")))]
    tags: Option<Vec<String>>,
}

/// At most 20 tags of 1 to 50 characters.
pub(super) fn check_tags(issues: &mut Issues, tags: &[String]) {
    issues.count("tags", tags.len(), MAX_TAGS);
    issues.within("tags", |issues| {
        for (i, tag) in tags.iter().enumerate() {
            issues.length(i, tag.trim(), 1..=MAX_TAG);
        }
    });
}

/// Tags as they are stored: trimmed, each once.
pub(super) fn clean_tags(tags: Option<Vec<String>>) -> Vec<String> {
    let mut clean: Vec<String> = Vec::new();
    for tag in tags.unwrap_or_default() {
        let tag = tag.trim().to_owned();
        if !clean.contains(&tag) {
            clean.push(tag);
        }
    }
    clean
}

/// A Space's slug: lowercase letters, digits and dashes, other scripts transliterated.
fn slug_of(name: &str) -> String {
    let mut slug = slug::slugify(name);
    slug.truncate(MAX_SLUG);
    slug.trim_end_matches('-').to_owned()
}

impl Check for SpaceCreate {
    fn check(&self, issues: &mut Issues) {
        let name = self.name.trim();
        issues.length("name", name, 1..=MAX_NAME);
        if !name.is_empty() && slug_of(name).is_empty() {
            issues.add("name", "no_slug", "must contain at least one letter or digit");
        }
        issues.length(
            "description",
            self.description.as_deref().unwrap_or_default(),
            0..=MAX_DESCRIPTION,
        );
        check_tags(issues, self.tags.as_deref().unwrap_or_default());
    }
}

impl From<SpaceCreate> for store::NewSpace {
    fn from(new: SpaceCreate) -> Self {
        let name = new.name.trim().to_owned();
        store::NewSpace {
            slug: slug_of(&name),
            name,
            description: new.description,
            tags: clean_tags(new.tags),
        }
    }
}

/// What to change; what is absent stays. The slug never changes.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpaceUpdate {
    /// The new name.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"\S"), example = "example_name")]
    name: Option<String>,
    /// What it is for now; an empty text clears it.
    #[schemars(length(max = 1_000))]
    description: Option<String>,
    /// All of its tags from now on: at most 20, of 1 to 50 characters each; `[]` clears them.
    #[schemars(length(max = 20), inner(length(min = 1, max = 50), regex(pattern = r"\S")))]
    tags: Option<Vec<String>>,
    /// The model that new sessions use unless they name one; an empty text clears it.
    #[schemars(length(max = 100), example = "example_model")]
    default_model: Option<String>,
}

fn example_model() -> &'static str {
    "claude"
}

impl Check for SpaceUpdate {
    fn check(&self, issues: &mut Issues) {
        if let Some(name) = &self.name {
            issues.length("name", name.trim(), 1..=MAX_NAME);
        }
        issues.length(
            "description",
            self.description.as_deref().unwrap_or_default(),
            0..=MAX_DESCRIPTION,
        );
        check_tags(issues, self.tags.as_deref().unwrap_or_default());
        let model = self.default_model.as_deref().unwrap_or_default();
        issues.length("defaultModel", model.trim(), 0..=MAX_MODEL);
    }
}

/// `None` for a text that stands for nothing, so that what an optional field held can be cleared:
/// `null` already means that the field is absent.
pub(super) fn or_cleared(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<SpaceUpdate> for store::SpaceChange {
    fn from(change: SpaceUpdate) -> Self {
        store::SpaceChange {
            name: change.name.map(|name| name.trim().to_owned()),
            description: change.description.map(or_cleared),
            tags: change.tags.map(|tags| clean_tags(Some(tags))),
            default_model: change.default_model.map(|model| or_cleared(model.trim().to_owned())),
        }
    }
}

/// A Space by id.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpacePath {
    /// The Space's id.
    #[schemars(with = "SpaceId")]
    project_id: String,
}

/// List Spaces
///
/// The Spaces that the caller is a member of, most recently updated first. A page past the end is
/// empty.
#[endpoint { method = GET, path = "/api/projects", tags = ["Spaces"], operation_id = "space_list" }]
pub(super) async fn space_list(ctx: Ctx, query: Params<PageParams>) -> Answer<Ok200<SpacePage>> {
    let mut call = Call::reading(&ctx, Scope::SpacesRead);
    let PageParams { page, limit } = call.valid(query.into_inner()).await?;
    let (spaces, total) =
        call.read(async |tx| store::list(tx, page.into(), limit.into()).await).await?;
    Reply::ok(SpacePage {
        projects: spaces.into_iter().map(Space::from).collect(),
        page,
        limit,
        total: u32::try_from(total).unwrap_or(u32::MAX),
    })
}

/// Create a Space
///
/// Any member of the organization may; he becomes the Space's OWNER. The slug is derived from the
/// name, and a slug that is taken is a conflict.
#[endpoint { method = POST, path = "/api/projects", tags = ["Spaces"], operation_id = "space_create" }]
pub(super) async fn space_create(
    ctx: Ctx,
    key: IdempotencyKey,
    body: Unread<SpaceCreate>,
) -> Answer<Created<SpaceData>> {
    let mut call = Call::writing(&ctx, Scope::SpacesWrite).await?;
    let body = call.body(body).await?;
    call.create(key, body, async |tx, body| {
        let space = store::create(tx, &body.into()).await?;
        let location = format!("{}/projects/{}", super::PREFIX, space.id);
        let right = Right::Space(space.id.clone(), SpaceRole::Viewer);
        let data = SpaceData { project: space.into() };
        Ok(Kept::new(&data, right)?.at(location))
    })
    .await
}

/// View a Space
///
/// By id. A Space of the organization that the caller is not a member of is forbidden.
#[endpoint { method = GET, path = "/api/projects/{projectId}", tags = ["Spaces"], operation_id = "space_view" }]
pub(super) async fn space_view(ctx: Ctx, path: Path<SpacePath>) -> Answer<Ok200<SpaceData>> {
    let mut call = Call::reading(&ctx, Scope::SpacesRead);
    let id = path.into_inner().project_id.parse().map_err(|_| Error::not_found("Space"));
    let id = call.valid(id).await?;
    let (space, _) = call.read(async |tx| store::view(tx, &id).await).await?;
    Reply::ok(SpaceData { project: space.into() })
}

/// Update a Space
///
/// The Space's OWNER and EDITOR may. Its slug never changes, whatever its name becomes. Without a
/// change nothing happens.
#[endpoint { method = PATCH, path = "/api/projects/{projectId}", tags = ["Spaces"], operation_id = "space_update" }]
pub(super) async fn space_update(
    ctx: Ctx,
    path: Path<SpacePath>,
    body: Unread<SpaceUpdate>,
) -> Answer<Ok200<SpaceData>> {
    let mut call = Call::writing(&ctx, Scope::SpacesWrite).await?;
    let body = call.body(body).await?;
    let id = path.into_inner().project_id.parse().map_err(|_| Error::not_found("Space"))?;
    let change = body.into_inner()?.into();
    let space = call.write(async |tx| store::update(tx, &id, &change).await).await?;
    Reply::ok(SpaceData { project: space.into() })
}

/// Archive a Space
///
/// From then on nobody sees the Space, nor its sessions and `SPACE` notes; its slug stays taken.
/// The Space's OWNER may, and the organization's OWNER, even one who is not a member of the Space.
/// Once more is `NOT_FOUND`.
#[endpoint { method = DELETE, path = "/api/projects/{projectId}", tags = ["Spaces"], operation_id = "space_archive" }]
pub(super) async fn space_archive(ctx: Ctx, path: Path<SpacePath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::SpacesWrite).await?;
    let id = path.into_inner().project_id.parse().map_err(|_| Error::not_found("Space"))?;
    call.write(async |tx| store::archive(tx, &id).await).await?;
    Reply::no_content()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slugs_are_readable() {
        assert_eq!(slug_of("Platform team"), "platform-team");
        assert_eq!(slug_of("  Über-Größe & Co. "), "uber-grosse-co");
        assert_eq!(slug_of("---"), "");
    }

    proptest! {
        #[test]
        fn a_slug_has_only_letters_digits_and_dashes(name in ".{0,100}") {
            let slug = slug_of(&name);
            prop_assert!(slug.len() <= MAX_SLUG);
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-'));
            prop_assert!(slug
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        }
    }
}
