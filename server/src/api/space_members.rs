//! Who is in a Space (contract A8, E3).

use super::pages::{PageParams, total};
use super::{Call, Ctx, Kept};
use crate::auth::{Scope, SpaceRole};
use crate::error::{Error, Result};
use crate::http::{
    Answer, Check, Created, IdempotencyKey, NoContent, Ok200, Params, Reply, Timestamp, Unread,
};
use crate::store::ids::{SpaceId, UserId};
use crate::store::rights::Right;
use crate::store::space_members as store;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Somebody who is in a Space.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpaceMember {
    /// The user's id.
    user_id: UserId,
    /// His role in the Space.
    role: SpaceRole,
    /// His address.
    #[schemars(example = "example_email")]
    email: String,
    /// His name.
    name: Option<String>,
    /// Since when he is in the Space.
    joined_at: Timestamp,
}

fn example_email() -> &'static str {
    "ada@example.com"
}

impl TryFrom<store::SpaceMember> for SpaceMember {
    type Error = Error;
    fn try_from(member: store::SpaceMember) -> Result<Self> {
        Ok(SpaceMember {
            user_id: member.user_id,
            role: member.role.parse()?,
            email: member.email,
            name: member.name,
            joined_at: member.joined_at.into(),
        })
    }
}

/// Everybody in a Space.
#[derive(Serialize, JsonSchema)]
struct SpaceMemberList {
    /// In the order in which they joined.
    members: Vec<SpaceMember>,
    /// How many there are in all.
    total: u32,
}

/// One member of a Space.
#[derive(Serialize, JsonSchema)]
struct SpaceMemberData {
    /// The member.
    member: SpaceMember,
}

/// Who is to come into the Space.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpaceMemberAdd {
    /// A member of the organization.
    user_id: UserId,
    /// His role in the Space.
    role: SpaceRole,
}

impl Check for SpaceMemberAdd {}

/// What he is to be.
#[derive(Deserialize, JsonSchema)]
struct SpaceMemberUpdate {
    /// His role in the Space from now on.
    role: SpaceRole,
}

impl Check for SpaceMemberUpdate {}

/// A Space by id.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpaceMembersPath {
    /// The Space's id.
    #[schemars(with = "SpaceId")]
    project_id: String,
}

impl SpaceMembersPath {
    fn parse(&self) -> Result<SpaceId> {
        self.project_id.parse().map_err(|_| Error::not_found("Space"))
    }
}

/// A member of a Space.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpaceMemberPath {
    /// The Space's id.
    #[schemars(with = "SpaceId")]
    project_id: String,
    /// The member's user id.
    #[schemars(with = "UserId")]
    user_id: String,
}

impl SpaceMemberPath {
    fn parse(&self) -> Result<(SpaceId, UserId)> {
        Ok((
            self.project_id.parse().map_err(|_| Error::not_found("Space"))?,
            self.user_id.parse().map_err(|_| Error::not_found("member of this Space"))?,
        ))
    }
}

/// List the members of a Space
///
/// Everybody in it, in the order in which they joined. Members of the Space may. All of them, up to
/// 1,000; `before` (a user id) pages through more.
#[endpoint { method = GET, path = "/api/projects/{projectId}/members", tags = ["Spaces"], operation_id = "space_member_list" }]
pub(super) async fn space_member_list(
    ctx: Ctx,
    path: Path<SpaceMembersPath>,
    params: Params<PageParams<UserId>>,
) -> Answer<Ok200<SpaceMemberList>> {
    let mut call = Call::reading(&ctx, Scope::SpacesRead);
    let space = call.valid(path.into_inner().parse()).await?;
    let paging = call.valid(params.into_inner()).await?.into();
    let listed = call.read(async |tx| store::list(tx, &space, &paging).await).await?;
    Reply::ok(SpaceMemberList {
        members: listed.rows.into_iter().map(SpaceMember::try_from).collect::<Result<_>>()?,
        total: total(listed.total),
    })
}

/// Add a member to a Space
///
/// A member of the organization, with a role in the Space. The Space's OWNER may. Somebody who is
/// in the Space already is a conflict.
#[endpoint { method = POST, path = "/api/projects/{projectId}/members", tags = ["Spaces"], operation_id = "space_member_add" }]
pub(super) async fn space_member_add(
    ctx: Ctx,
    path: Path<SpaceMembersPath>,
    key: IdempotencyKey,
    body: Unread<SpaceMemberAdd>,
) -> Answer<Created<SpaceMemberData>> {
    let mut call = Call::writing(&ctx, Scope::SpacesWrite).await?;
    let body = call.body(body).await?;
    call.create(key, body, async |tx, SpaceMemberAdd { user_id, role }| {
        let space = path.into_inner().parse()?;
        let member = store::add(tx, &space, &user_id, role).await?;
        let location = format!("{}/projects/{space}/members/{user_id}", super::PREFIX);
        let data = SpaceMemberData { member: member.try_into()? };
        Ok(Kept::new(&data, Right::Space(space, SpaceRole::Owner))?.at(location))
    })
    .await
}

/// Change a member's role in a Space
///
/// The Space's OWNER may. The last OWNER stays one: conflict.
#[endpoint { method = PATCH, path = "/api/projects/{projectId}/members/{userId}", tags = ["Spaces"], operation_id = "space_member_update" }]
pub(super) async fn space_member_update(
    ctx: Ctx,
    path: Path<SpaceMemberPath>,
    body: Unread<SpaceMemberUpdate>,
) -> Answer<Ok200<SpaceMemberData>> {
    let mut call = Call::writing(&ctx, Scope::SpacesWrite).await?;
    let body = call.body(body).await?;
    let (space, user) = path.into_inner().parse()?;
    let SpaceMemberUpdate { role } = body.into_inner()?;
    let member = call.write(async |tx| store::update(tx, &space, &user, role).await).await?;
    Reply::ok(SpaceMemberData { member: member.try_into()? })
}

/// Take a member out of a Space
///
/// The Space's OWNER may, and everybody himself. He takes part in the Space's sessions no more;
/// what he wrote stays. The last OWNER cannot leave: conflict.
#[endpoint { method = DELETE, path = "/api/projects/{projectId}/members/{userId}", tags = ["Spaces"], operation_id = "space_member_remove" }]
pub(super) async fn space_member_remove(
    ctx: Ctx,
    path: Path<SpaceMemberPath>,
) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::SpacesWrite).await?;
    let (space, user) = path.into_inner().parse()?;
    call.write(async |tx| store::remove(tx, &space, &user).await).await?;
    Reply::no_content()
}
