//! Members of the organization (contract B5).

use super::pages::{PageParams, total};
use super::{Call, Ctx};
use crate::auth::{OrgRole, Scope};
use crate::error::{Error, Result};
use crate::http::{Answer, Check, NoContent, Ok200, Params, Reply, Timestamp, Unread};
use crate::store::ids::{OrgId, UserId};
use crate::store::members as store;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member of an organization.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Member {
    /// The user.
    user_id: UserId,
    /// The organization.
    organization_id: OrgId,
    /// The user's role in it.
    role: OrgRole,
    /// The user's address.
    #[schemars(example = "example_email")]
    email: String,
    /// The user's name.
    name: Option<String>,
    /// When the user joined.
    joined_at: Timestamp,
}

fn example_email() -> &'static str {
    "grace@example.com"
}

impl Member {
    pub(super) fn of(member: store::Member) -> Result<Self> {
        Ok(Member {
            user_id: member.user_id,
            organization_id: member.org_id,
            role: member.role.parse()?,
            email: member.email,
            name: member.name,
            joined_at: member.joined_at.into(),
        })
    }
}

/// One member.
#[derive(Serialize, JsonSchema)]
struct MemberData {
    /// The member.
    member: Member,
}

/// The members of an organization.
#[derive(Serialize, JsonSchema)]
struct MemberList {
    /// OWNERs first, then ADMINs, then by name, or address where there is none.
    members: Vec<Member>,
    /// How many there are in all.
    total: u32,
}

/// An organization by id.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrgPath {
    /// The organization's id: that of the key.
    #[schemars(with = "OrgId")]
    pub(super) org_id: String,
}

/// A member of an organization.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MemberPath {
    /// The organization's id: that of the key.
    #[schemars(with = "OrgId")]
    org_id: String,
    /// The member's user id.
    #[schemars(with = "UserId")]
    user_id: String,
}

impl MemberPath {
    fn check(&self, call: &Call<'_>) -> Result<UserId> {
        call.in_org(&self.org_id)?;
        self.user_id.parse().map_err(|_| Error::not_found("member"))
    }
}

/// What to change of a member.
#[derive(Deserialize, JsonSchema)]
struct MemberUpdate {
    /// The new role.
    role: OrgRole,
}

impl Check for MemberUpdate {}

/// List members
///
/// Everybody in the organization, for everybody in it: all of them, up to 1,000; `before` (a user id)
/// pages through more.
#[endpoint { method = GET, path = "/api/org/{orgId}/members", tags = ["Organization"], operation_id = "member_list" }]
pub(super) async fn member_list(
    ctx: Ctx,
    path: Path<OrgPath>,
    params: Params<PageParams<UserId>>,
) -> Answer<Ok200<MemberList>> {
    let mut call = Call::reading(&ctx, Scope::OrgRead);
    call.call().await?.in_org(&path.into_inner().org_id)?;
    let paging = params.into_inner()?.into();
    let listed = call.read(async |tx| store::list(tx, &paging).await).await?;
    let members = listed.rows.into_iter().map(Member::of).collect::<Result<_>>()?;
    Reply::ok(MemberList { members, total: total(listed.total) })
}

/// Change a member's role
///
/// An OWNER may. It takes effect with the member's next request, whatever his keys' scopes. An
/// organization keeps at least one OWNER: demoting the only one is a conflict.
#[endpoint { method = PATCH, path = "/api/org/{orgId}/members/{userId}", tags = ["Organization"], operation_id = "member_update" }]
pub(super) async fn member_update(
    ctx: Ctx,
    path: Path<MemberPath>,
    body: Unread<MemberUpdate>,
) -> Answer<Ok200<MemberData>> {
    let mut call = Call::writing(&ctx, Scope::OrgWrite).await?;
    let body = call.body(body).await?;
    let user = path.into_inner().check(&call)?;
    let MemberUpdate { role } = body.into_inner()?;
    let member = call.write(async |tx| store::change_role(tx, &user, role).await).await?;
    Reply::ok(MemberData { member: Member::of(member)? })
}

/// Remove a member, or leave
///
/// An OWNER may remove anybody, an ADMIN anybody but OWNERs, and everybody himself; the only OWNER
/// stays. At once, the member's API keys of the organization are revoked, for good, and he is in
/// none of its Spaces and sessions any more. A Space whose only OWNER he was goes to its longest
/// EDITOR, else to its longest MEMBER. His SPACE and ORG notes stay; his PRIVATE ones stay his, and
/// out of everybody's sight.
#[endpoint { method = DELETE, path = "/api/org/{orgId}/members/{userId}", tags = ["Organization"], operation_id = "member_remove" }]
pub(super) async fn member_remove(ctx: Ctx, path: Path<MemberPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::OrgWrite).await?;
    let user = path.into_inner().check(&call)?;
    call.write(async |tx| store::remove(tx, &user).await).await?;
    Reply::no_content()
}
