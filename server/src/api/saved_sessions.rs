//! Saved sessions (contract C, D): the same sessions, in the second dialect. Agents and workers save
//! what they did into a workspace, which is a Space, and their teammates find it there.

mod filters;
mod label;
mod requests;
mod shapes;
pub(super) mod transcript;

use super::{Call, Ctx, Kept};
use crate::auth::{Scope, SpaceRole};
use crate::error::{Error, Result};
use crate::http::{Bare200, BareAnswer, IdempotencyKey, Json, Params, Reply, Unread};
use crate::store::rights::Right;
use crate::store::saved_sessions as store;
use crate::store::spaces::Space;
use dropshot::{Path, endpoint};
use filters::{FacetParams, ListParams};
use requests::{SessionCreateRequest, SessionUpdateRequest};
use schemars::JsonSchema;
use serde::Deserialize;
use shapes::{SessionFacetsResponse, SessionListResponse, SessionResponse};

/// A workspace of an organization.
#[derive(Deserialize, JsonSchema)]
struct WorkspacePath {
    /// The slug of the key's organization.
    #[schemars(length(min = 1, max = 100), example = "example_org")]
    org: String,
    /// The workspace's slug, which is that of the Space.
    #[schemars(length(min = 1, max = 100), example = "example_workspace")]
    workspace: String,
}

/// A session of a workspace.
#[derive(Deserialize, JsonSchema)]
struct SavedSessionPath {
    /// The slug of the key's organization.
    #[schemars(length(min = 1, max = 100), example = "example_org")]
    org: String,
    /// The workspace's slug, which is that of the Space.
    #[schemars(length(min = 1, max = 100), example = "example_workspace")]
    workspace: String,
    /// The session's UUID, or as much of its beginning as no other session of the workspace shares.
    #[schemars(length(min = 1, max = 36), example = "example_session")]
    session_id: String,
}

fn example_org() -> &'static str {
    "analytical-engines"
}

fn example_workspace() -> &'static str {
    "platform-team"
}

fn example_session() -> &'static str {
    "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90"
}

impl WorkspacePath {
    async fn enter(&self, tx: &mut crate::store::Tx) -> Result<(Space, SpaceRole)> {
        store::workspace(tx, &self.org, &self.workspace).await
    }
}

impl SavedSessionPath {
    /// The session's name is looked at after its place: somebody from elsewhere learns nothing.
    async fn enter(
        &self,
        tx: &mut crate::store::Tx,
    ) -> Result<((Space, SpaceRole), store::Wanted)> {
        let place = store::workspace(tx, &self.org, &self.workspace).await?;
        let wanted = store::Wanted::parse(&self.session_id);
        Ok((place, wanted.ok_or_else(|| Error::not_found("session"))?))
    }
}

/// Save a session
///
/// Makes the session, or changes what the same user saved under this id in this workspace before:
/// `model`, and `message_count`, `title`, `agent` and `labels` where they are given. `visibility`
/// and `origin` are heeded the first time only. So a session can be saved as often as one likes,
/// from several places at once; an id that is somebody else's, or of another workspace, is a 409.
/// Members of the Space may, except its VIEWERs. Saving an archived session leaves it archived.
#[endpoint { method = POST, path = "/api/v1/org/{org}/ws/{workspace}/sessions", tags = ["Saved sessions"], operation_id = "saved_session_save" }]
pub(super) async fn saved_session_save(
    ctx: Ctx,
    path: Path<WorkspacePath>,
    key: IdempotencyKey,
    body: Unread<SessionCreateRequest>,
) -> BareAnswer<Bare200<SessionResponse>> {
    let mut call = Call::writing(&ctx, Scope::SessionsWrite).await?;
    let body = call.body(body).await?;
    call.create(key, body, async |tx, body| {
        let save = body.into();
        let place = path.into_inner().enter(tx).await?;
        let session = store::save(tx, &place, &save).await?;
        let right = Right::Session(place.0.id.clone(), session.id.clone(), SpaceRole::Member);
        Kept::new(&SessionResponse::from(session), right)
    })
    .await
}

/// List saved sessions
///
/// The sessions of the workspace that the caller can see, native ones included, page by page. A
/// filter that may be repeated is met by any of its values; different filters must all be met.
/// Evaluation runs are left out, unless `origin` names them or `include_workload_sessions` is set.
/// Words are looked for in the 10,000 sessions that were changed last of those that the other filters
/// leave in.
#[endpoint { method = GET, path = "/api/v1/org/{org}/ws/{workspace}/sessions", tags = ["Saved sessions"], operation_id = "saved_session_list" }]
pub(super) async fn saved_session_list(
    ctx: Ctx,
    path: Path<WorkspacePath>,
    params: Params<ListParams>,
) -> BareAnswer<Bare200<SessionListResponse>> {
    let mut call = Call::reading(&ctx, Scope::SessionsRead);
    let path = path.into_inner();
    let params = call.valid(params.into_inner()).await?;
    let (page, limit, order) = (params.page(), params.limit(), params.order());
    let filter = params.filter();
    let (sessions, total) = call
        .read(async |tx| {
            let (space, _) = path.enter(tx).await?;
            store::list(tx, &space, &filter, order, (page.into(), limit.into())).await
        })
        .await?;
    Reply::bare(SessionListResponse::of(sessions, total, page, limit))
}

/// Count saved sessions by label, agent, model and user
///
/// Of the sessions that the same filters leave in the list: which values there are, and how many
/// sessions have each, the most frequent ones first. At most 100 values of a key are told; of more
/// than 10,000 sessions, those that were changed last are counted.
#[endpoint { method = GET, path = "/api/v1/org/{org}/ws/{workspace}/sessions/facets", tags = ["Saved sessions"], operation_id = "saved_session_facets" }]
pub(super) async fn saved_session_facets(
    ctx: Ctx,
    path: Path<WorkspacePath>,
    params: Params<FacetParams>,
) -> BareAnswer<Bare200<SessionFacetsResponse>> {
    let mut call = Call::reading(&ctx, Scope::SessionsRead);
    let path = path.into_inner();
    let filter = call.valid(params.into_inner()).await?.filter();
    Reply::bare(SessionFacetsResponse::of(
        call.read(async |tx| {
            let (space, _) = path.enter(tx).await?;
            store::facets(tx, &space, &filter).await
        })
        .await?,
    ))
}

/// View a saved session
///
/// By its UUID or the beginning of one, archived or not. When several sessions begin so, it is a
/// 404 that says so.
#[endpoint { method = GET, path = "/api/v1/org/{org}/ws/{workspace}/sessions/{session_id}", tags = ["Saved sessions"], operation_id = "saved_session_view" }]
pub(super) async fn saved_session_view(
    ctx: Ctx,
    path: Path<SavedSessionPath>,
) -> BareAnswer<Bare200<SessionResponse>> {
    let path = path.into_inner();
    let mut call = Call::reading(&ctx, Scope::SessionsRead);
    Reply::bare(
        call.read(async |tx| {
            let ((space, _), wanted) = path.enter(tx).await?;
            store::view(tx, &space, wanted).await
        })
        .await?
        .into(),
    )
}

/// Update a saved session
///
/// What is given is changed. `labels` replaces all labels but the reserved ones (`capability`,
/// `capability_version`, `worker`), which stay as they are. `visibility` can become `workspace`, by
/// the creator alone, and never `private` again. Everything else its creator may change, and the
/// Space's OWNER and EDITOR.
#[endpoint { method = PATCH, path = "/api/v1/org/{org}/ws/{workspace}/sessions/{session_id}", tags = ["Saved sessions"], operation_id = "saved_session_update" }]
pub(super) async fn saved_session_update(
    ctx: Ctx,
    path: Path<SavedSessionPath>,
    body: Unread<SessionUpdateRequest>,
) -> BareAnswer<Bare200<SessionResponse>> {
    let mut call = Call::writing(&ctx, Scope::SessionsWrite).await?;
    let body = call.body(body).await?;
    let change = body.into_inner()?.into();
    Reply::bare(
        call.write(async |tx| {
            let (place, wanted) = path.into_inner().enter(tx).await?;
            store::update(tx, &place, wanted, &change).await
        })
        .await?
        .into(),
    )
}

/// Archive a saved session
///
/// It leaves the list, takes no more messages, and stays readable. Its creator may, and the Space's
/// OWNER and EDITOR. Once more is no error.
#[endpoint { method = POST, path = "/api/v1/org/{org}/ws/{workspace}/sessions/{session_id}/archive", tags = ["Saved sessions"], operation_id = "saved_session_archive" }]
pub(super) async fn saved_session_archive(
    ctx: Ctx,
    path: Path<SavedSessionPath>,
    key: IdempotencyKey,
) -> BareAnswer<Bare200<SessionResponse>> {
    set_archived(&ctx, path, key, true).await
}

/// Bring an archived session back
///
/// It is listed again, and takes messages. Its creator may, and the Space's OWNER and EDITOR. Once
/// more is no error.
#[endpoint { method = POST, path = "/api/v1/org/{org}/ws/{workspace}/sessions/{session_id}/unarchive", tags = ["Saved sessions"], operation_id = "saved_session_unarchive" }]
pub(super) async fn saved_session_unarchive(
    ctx: Ctx,
    path: Path<SavedSessionPath>,
    key: IdempotencyKey,
) -> BareAnswer<Bare200<SessionResponse>> {
    set_archived(&ctx, path, key, false).await
}

async fn set_archived(
    ctx: &Ctx,
    path: Path<SavedSessionPath>,
    key: IdempotencyKey,
    archived: bool,
) -> BareAnswer<Bare200<SessionResponse>> {
    let call = Call::writing(ctx, Scope::SessionsWrite).await?;
    call.create(key, Json::none(), async |tx, ()| {
        let (place, wanted) = path.into_inner().enter(tx).await?;
        let session = store::set_archived(tx, &place, wanted, archived).await?;
        let right = Right::Change(place.0.id.clone(), session.id.clone());
        Kept::new(&SessionResponse::from(session), right)
    })
    .await
}
