//! Invitations into the organization (contract B5, E3).

use super::members::{Member, OrgPath};
use super::pages::{PageParams, total};
use super::{Call, Ctx, Kept, PREFIX};
use crate::auth::{InvitationToken, OrgRole, Scope, invitation};
use crate::error::{Error, Result};
use crate::http::{
    Answer, Check, Created, IdempotencyKey, Issues, Json, NoContent, Ok200, Params, Reply,
    Timestamp, Unread,
};
use crate::mail::{MAX_ADDRESS, is_address};
use crate::store::ids::{InvitationId, OrgId, UserId};
use crate::store::invitations as store;
use crate::store::rights::Right;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an invitation makes of somebody. Nobody is invited as an OWNER.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
enum InvitedRole {
    /// Manages members, keys and integrations.
    #[serde(rename = "ADMIN")]
    Admin,
    /// Works in Spaces.
    #[serde(rename = "MEMBER")]
    Member,
}

impl From<InvitedRole> for OrgRole {
    fn from(role: InvitedRole) -> Self {
        match role {
            InvitedRole::Admin => OrgRole::Admin,
            InvitedRole::Member => OrgRole::Member,
        }
    }
}

/// What has become of an invitation.
#[derive(Serialize, JsonSchema)]
enum InvitationStatus {
    /// It can be accepted.
    #[serde(rename = "PENDING")]
    Pending,
    /// The invitee is, or was, a member.
    #[serde(rename = "ACCEPTED")]
    Accepted,
    /// It was taken back.
    #[serde(rename = "REVOKED")]
    Revoked,
    /// Its time is over.
    #[serde(rename = "EXPIRED")]
    Expired,
}

/// What has become of the letter with an invitation.
#[derive(Serialize, JsonSchema)]
enum InvitationDelivery {
    /// The server sends no mail: whoever invites hands the token over.
    #[serde(rename = "NONE")]
    None,
    /// It will be sent, or sent once more.
    #[serde(rename = "QUEUED")]
    Queued,
    /// The mail server has taken it.
    #[serde(rename = "SENT")]
    Sent,
    /// The mail server does not take it, and nothing more is tried.
    #[serde(rename = "FAILED")]
    Failed,
    /// There is none: the address, or the organization, has had its letters for today. Whoever
    /// invites hands the token over.
    #[serde(rename = "HELD")]
    Held,
}

/// An invitation into an organization. Its token is shown once, when it is made.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Invitation {
    /// The invitation's id.
    id: InvitationId,
    /// The organization that it leads into.
    organization_id: OrgId,
    /// Who is invited.
    #[schemars(example = "example_email")]
    email: String,
    /// As what.
    role: InvitedRole,
    /// What has become of it.
    status: InvitationStatus,
    /// Until when it can be accepted: 7 days.
    expires_at: Timestamp,
    /// When it was made.
    created_at: Timestamp,
    /// Who invites.
    invited_by_user_id: UserId,
    /// What has become of the letter.
    delivery: InvitationDelivery,
}

fn example_email() -> &'static str {
    "grace@example.com"
}

impl Invitation {
    fn of(invitation: store::Invitation) -> Result<Self> {
        let unknown = |what: &str, value: &str| {
            Error::internal(format!("the database holds an unknown {what}: {value}"))
        };
        Ok(Invitation {
            id: invitation.id,
            organization_id: invitation.org_id,
            email: invitation.email,
            role: match invitation.role.as_str() {
                "ADMIN" => InvitedRole::Admin,
                "MEMBER" => InvitedRole::Member,
                other => return Err(unknown("role", other)),
            },
            status: match invitation.status.as_str() {
                "PENDING" => InvitationStatus::Pending,
                "ACCEPTED" => InvitationStatus::Accepted,
                "REVOKED" => InvitationStatus::Revoked,
                "EXPIRED" => InvitationStatus::Expired,
                other => return Err(unknown("status", other)),
            },
            expires_at: invitation.expires_at.into(),
            created_at: invitation.created_at.into(),
            invited_by_user_id: invitation.invited_by_user_id,
            delivery: match invitation.delivery.as_str() {
                "NONE" => InvitationDelivery::None,
                "QUEUED" => InvitationDelivery::Queued,
                "SENT" => InvitationDelivery::Sent,
                "FAILED" => InvitationDelivery::Failed,
                "HELD" => InvitationDelivery::Held,
                other => return Err(unknown("delivery", other)),
            },
        })
    }
}

/// An invitation that was just made.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NewInvitation {
    #[serde(flatten)]
    invitation: Invitation,
    /// What the invitee accepts with. Shown this once; `null` when the answer is a replay.
    #[schemars(example = "example_token")]
    token: Option<String>,
    /// Where the invitee accepts: `POST`, with a key of his own. `null` when the answer is a replay.
    accept_url: Option<String>,
}

fn example_token() -> &'static str {
    "inv_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
}

/// The invitation that was made.
#[derive(Serialize, JsonSchema)]
struct NewInvitationData {
    /// The invitation, with its token.
    invitation: NewInvitation,
}

/// The invitations of an organization.
#[derive(Serialize, JsonSchema)]
struct InvitationList {
    /// Those that can still be accepted, newest first.
    invitations: Vec<Invitation>,
    /// How many there are in all.
    total: u32,
}

/// What came of an invitation.
#[derive(Serialize, JsonSchema)]
struct AcceptedInvitation {
    /// The membership.
    membership: Member,
}

/// Whom to invite.
#[derive(Deserialize, JsonSchema)]
struct InvitationCreate {
    /// An e-mail address; case does not tell two apart.
    #[schemars(length(min = 3, max = 254), example = "example_email")]
    email: String,
    /// As what.
    role: InvitedRole,
}

impl Check for InvitationCreate {
    fn check(&self, issues: &mut Issues) {
        let email = self.email.trim();
        issues.length("email", email, 1..=MAX_ADDRESS);
        if (1..=MAX_ADDRESS).contains(&email.chars().count()) && !is_address(email) {
            issues.add("email", "invalid_email", "must be an e-mail address");
        }
    }
}

/// An invitation of an organization.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InvitationPath {
    /// The organization's id: that of the key.
    #[schemars(with = "OrgId")]
    org_id: String,
    /// The invitation's id.
    #[schemars(with = "InvitationId")]
    invitation_id: String,
}

/// An invitation by its token.
#[derive(Deserialize, JsonSchema)]
struct TokenPath {
    /// The invitation's token.
    #[schemars(example = "example_token")]
    token: String,
}

/// List invitations
///
/// Those that can still be accepted, newest first. OWNERs and ADMINs may. All of them, up to 1,000;
/// `before` pages through more.
#[endpoint { method = GET, path = "/api/org/{orgId}/invitations", tags = ["Organization"], operation_id = "invitation_list" }]
pub(super) async fn invitation_list(
    ctx: Ctx,
    path: Path<OrgPath>,
    params: Params<PageParams<InvitationId>>,
) -> Answer<Ok200<InvitationList>> {
    let mut call = Call::reading(&ctx, Scope::OrgRead);
    call.call().await?.in_org(&path.into_inner().org_id)?;
    let paging = params.into_inner()?.into();
    let listed = call.read(async |tx| store::list(tx, &paging).await).await?;
    let invitations = listed.rows.into_iter().map(Invitation::of).collect::<Result<_>>()?;
    Reply::ok(InvitationList { invitations, total: total(listed.total) })
}

/// Invite somebody
///
/// OWNERs and ADMINs may, and each of them may invite ADMINs and MEMBERs. The invitee gets a letter,
/// if the server sends mail; the token is in this answer too, once. An address that is a member's
/// or has a pending invitation is a conflict, and so is more than 200 pending ones. Pending
/// invitations take no seat; accepted ones do.
///
/// Letters are few, also where invitations are revoked and made anew: in 24 hours, an address gets
/// one from an organization (three once somebody has joined it under that address), three from all
/// of them, and an organization sends 200. The invitation beyond is made all the same, and its
/// `delivery` is `HELD`.
#[endpoint { method = POST, path = "/api/org/{orgId}/invitations", tags = ["Organization"], operation_id = "invitation_create" }]
pub(super) async fn invitation_create(
    ctx: Ctx,
    path: Path<OrgPath>,
    key: IdempotencyKey,
    body: Unread<InvitationCreate>,
) -> Answer<Created<NewInvitationData>> {
    let mut call = Call::writing(&ctx, Scope::OrgWrite).await?;
    let body = call.body(body).await?;
    let app = call.app();
    let answer = call
        .create(key, body, async |tx, InvitationCreate { email, role }| {
            call.in_org(&path.into_inner().org_id)?;
            let nonce = invitation::nonce().map_err(Error::internal)?;
            let token = InvitationToken::of(&app.key_secret, &nonce);
            let new = store::NewInvitation {
                email: email.trim().to_owned(),
                role: role.into(),
                digest: token.digest(&app.key_secret),
                nonce: app.mailer.is_some().then_some(nonce),
            };
            let made = store::create(tx, &new).await?;
            let location = format!("{PREFIX}/org/{}/invitations/{}", made.org_id, made.id);
            let data = |token: Option<&InvitationToken>| -> Result<_> {
                let invitation = NewInvitation {
                    invitation: Invitation::of(made.clone())?,
                    token: token.map(|token| token.expose().to_owned()),
                    accept_url: token.map(|token| {
                        app.public_url
                            .at(&format!("{PREFIX}/invitations/{}/accept", token.expose()))
                    }),
                };
                Ok(NewInvitationData { invitation })
            };
            Ok(Kept::with_secret(&data(Some(&token))?, &data(None)?, Right::Manager)?.at(location))
        })
        .await;
    if answer.is_ok() {
        app.mail_sender.wake();
    }
    answer
}

/// Revoke an invitation
///
/// It can be accepted no more. OWNERs and ADMINs may. Once more is no error; an accepted one is a
/// conflict.
#[endpoint { method = DELETE, path = "/api/org/{orgId}/invitations/{invitationId}", tags = ["Organization"], operation_id = "invitation_revoke" }]
pub(super) async fn invitation_revoke(ctx: Ctx, path: Path<InvitationPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::OrgWrite).await?;
    let path = path.into_inner();
    call.in_org(&path.org_id)?;
    let id = path.invitation_id.parse().map_err(|_| Error::not_found("invitation"))?;
    call.write(async |tx| store::revoke(tx, &id).await).await?;
    Reply::no_content()
}

/// Accept an invitation
///
/// The caller's user joins the organization that the invitation leads into, whichever organization
/// the key is for. The user's address must be the invited one; case does not matter. An invitation
/// that was accepted, revoked or has expired is a conflict. The key stays one for its own
/// organization: the new one needs another.
#[endpoint { method = POST, path = "/api/invitations/{token}/accept", tags = ["Organization"], operation_id = "invitation_accept" }]
pub(super) async fn invitation_accept(
    ctx: Ctx,
    path: Path<TokenPath>,
    key: IdempotencyKey,
) -> Answer<Ok200<AcceptedInvitation>> {
    let call = Call::writing(&ctx, Scope::OrgWrite).await?;
    let token = InvitationToken::parse(&path.into_inner().token)
        .map_err(|_| Error::not_found("invitation"))?;
    let digest = token.digest(&call.app().key_secret);
    // no token is stored, not even as part of a path
    let kept_under = digest
        .iter()
        .fold(format!("{PREFIX}/invitations/"), |path, byte| format!("{path}{byte:02x}"));
    call.create(key.under(kept_under), Json::none(), async |tx, ()| {
        let member = store::accept(tx, &digest).await?;
        let right = Right::Joined(member.org_id.clone());
        let data = AcceptedInvitation { membership: Member::of(member)? };
        Kept::new(&data, right)
    })
    .await
}
