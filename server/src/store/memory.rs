//! Notes of the team's memory: finding, listing and deleting them. `write` makes and changes them,
//! `catch_up` gives those their vectors that have none yet.

mod catch_up;
mod write;

pub use catch_up::{Unembedded, embed};
pub(super) use write::sparsevec;
pub use write::{create, create_all, update};

use super::ids::{MemoryId, OrgId, SpaceId, UserId};
use super::schema::memories;
use super::{LIST_TIMEOUT, Tx, spaces, visibility};
use crate::auth::{OrgRole, SpaceRole};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use switchy_types::vectors::NoteEmbedding;

/// Ids of a reranker's vocabulary are below this.
pub const VOCABULARY_BOUND: i32 = 1 << 20;

/// Who sees a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Its author.
    Private,
    /// The members of its Space.
    Space,
    /// Everybody in the organization.
    Org,
}

impl Visibility {
    /// As the contract and the database spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Visibility::Private => "PRIVATE",
            Visibility::Space => "SPACE",
            Visibility::Org => "ORG",
        }
    }

    fn stored(text: &str) -> Result<Self> {
        match text {
            "PRIVATE" => Ok(Visibility::Private),
            "SPACE" => Ok(Visibility::Space),
            "ORG" => Ok(Visibility::Org),
            other => Err(Error::internal(format!("the database holds visibility {other}"))),
        }
    }
}

/// A note, as it is stored.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = memories)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Memory {
    pub id: MemoryId,
    pub org_id: OrgId,
    pub space_id: Option<SpaceId>,
    pub author_user_id: UserId,
    pub visibility: String,
    pub content: String,
    pub tags: Vec<String>,
    pub source_url: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// The user whose key wrote it in its author's name; `None`: the author's own.
    pub written_by_user_id: Option<UserId>,
}

/// What a new note is made of. `space_id` goes with [`Visibility::Space`], and only with it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct NewMemory {
    pub visibility: Visibility,
    pub space_id: Option<SpaceId>,
    pub content: String,
    pub tags: Vec<String>,
    pub source_url: Option<String>,
}

/// What a note is found by, and by which models that was computed.
pub struct Embedded<'a> {
    /// The note's vectors.
    pub note: &'a NoteEmbedding,
    /// Of the passages' vectors.
    pub model_id: &'a str,
    /// Of the expansion.
    pub sparse_model_id: Option<&'a str>,
}

/// Which notes to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this visibility.
    pub visibility: Option<Visibility>,
    /// Only this Space's.
    pub space_id: Option<SpaceId>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only by this author.
    pub author_user_id: Option<UserId>,
    /// Only older than this note.
    pub before: Option<MemoryId>,
    /// At most so many.
    pub limit: i64,
}

/// What is to change; `None` stays as it is, `Some(None)` is cleared.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "as above")]
pub struct MemoryChange {
    pub content: Option<String>,
    pub tags: Option<Vec<String>>,
    pub source_url: Option<Option<String>>,
    pub visibility: Option<Visibility>,
    pub space_id: Option<SpaceId>,
}

impl MemoryChange {
    fn is_empty(&self) -> bool {
        let MemoryChange { content, tags, source_url, visibility, space_id } = self;
        content.is_none()
            && tags.is_none()
            && source_url.is_none()
            && visibility.is_none()
            && space_id.is_none()
    }
}

/// Notes that the caller can see, newest first, and how many match the filter in all.
pub async fn list(tx: &mut Tx, filter: &Filter) -> Result<(Vec<Memory>, i64)> {
    tx.at_most(LIST_TIMEOUT);
    if let Some(space) = &filter.space_id {
        spaces::view(tx, space).await?;
    }
    let caller = tx.caller().clone();
    let older_than: Option<(DateTime<Utc>, MemoryId)> = match &filter.before {
        None => None,
        Some(before) => Some(
            memories::table
                .filter(visibility::memory(&caller))
                .filter(memories::id.eq(before))
                .select((memories::created_at, memories::id))
                .first(tx.connection())
                .await
                .optional()?
                .ok_or_else(|| Error::not_found("memory: `before` names none that you can see"))?,
        ),
    };
    let matching = || {
        let mut query = memories::table.filter(visibility::memory(&caller)).into_boxed();
        if let Some(visibility) = filter.visibility {
            query = query.filter(memories::visibility.eq(visibility.as_str()));
        }
        if let Some(space) = &filter.space_id {
            query = query.filter(memories::space_id.eq(space));
        }
        if let Some(tag) = &filter.tag {
            query = query.filter(memories::tags.contains(vec![tag.as_str()]));
        }
        if let Some(author) = &filter.author_user_id {
            query = query.filter(memories::author_user_id.eq(author));
        }
        query
    };
    let mut page = matching();
    if let Some((at, id)) = &older_than {
        // the first condition is one for the index: the scan begins there
        page = page.filter(memories::created_at.le(at)).filter(
            memories::created_at.lt(at).or(memories::created_at.eq(at).and(memories::id.lt(id))),
        );
    }
    let rows: Vec<Memory> = page
        .order((memories::created_at.desc(), memories::id.desc()))
        .limit(filter.limit)
        .select(Memory::as_select())
        .load(tx.connection())
        .await?;
    let shown = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let total = if older_than.is_none() && shown < filter.limit {
        shown
    } else {
        matching().count().get_result(tx.connection()).await?
    };
    Ok((rows, total))
}

/// One note, if the caller can see it.
pub async fn view(tx: &mut Tx, id: &MemoryId) -> Result<Memory> {
    let caller = tx.caller().clone();
    memories::table
        .filter(visibility::memory(&caller))
        .filter(memories::id.eq(id))
        .select(Memory::as_select())
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("memory"))
}

/// Deletes a note for good: its author may, for SPACE also that Space's OWNER and EDITOR, for ORG
/// the organization's OWNER and ADMIN (contract E3).
pub async fn delete(tx: &mut Tx, id: &MemoryId) -> Result<()> {
    let caller = tx.caller().clone();
    let note = view(tx, id).await?;
    let may = note.author_user_id == caller.user_id
        || match (Visibility::stored(&note.visibility)?, &note.space_id) {
            (Visibility::Space, Some(space)) => {
                let (_, role) = spaces::view(tx, space).await?;
                matches!(role, SpaceRole::Owner | SpaceRole::Editor)
            }
            (Visibility::Org, _) => matches!(caller.role, OrgRole::Owner | OrgRole::Admin),
            _ => false,
        };
    if !may {
        return Err(Error::forbidden(
            "only a note's author, and those who run its Space or organization, may delete it",
        ));
    }
    let gone = diesel::delete(memories::table)
        .filter(visibility::memory(&caller))
        .filter(memories::id.eq(id))
        .execute(tx.connection())
        .await?;
    // somebody else was faster
    if gone == 0 { Err(Error::not_found("memory")) } else { Ok(()) }
}
