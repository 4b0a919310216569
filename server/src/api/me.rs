//! `GET /me`: what a client shows first.

use super::{Call, Ctx};
use crate::auth::{OrgRole, SpaceRole};
use crate::http::{Answer, Ok200, Reply, Timestamp};
use crate::store::ids::{KeyId, OrgId, SpaceId, UserId};
use crate::store::pages::MAX_ROWS;
use crate::store::{accounts, spaces};
use dropshot::endpoint;
use schemars::JsonSchema;
use serde::Serialize;

/// A person.
#[derive(Serialize, JsonSchema)]
struct User {
    /// The user's id.
    id: UserId,
    /// The user's address.
    #[schemars(example = "example_email")]
    email: String,
    /// The user's name.
    name: Option<String>,
}

fn example_email() -> &'static str {
    "ada@example.com"
}

/// An organization.
#[derive(Serialize, JsonSchema)]
struct Organization {
    /// The organization's id.
    id: OrgId,
    /// Its slug: lowercase letters, digits and dashes.
    #[schemars(example = "example_slug")]
    slug: String,
    /// Its name.
    name: String,
}

fn example_slug() -> &'static str {
    "analytical-engines"
}

/// A Space that the caller is in.
#[derive(Serialize, JsonSchema)]
struct Membership {
    /// The Space's id.
    id: SpaceId,
    /// Its slug.
    slug: String,
    /// Its name.
    name: String,
    /// The caller's role in it.
    role: SpaceRole,
}

/// The key that is used, without its secret.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UsedKey {
    /// The key's id.
    id: KeyId,
    /// Its name, as its user gave it.
    name: String,
    /// How its secret begins.
    prefix: String,
    /// When it ceases to work; `null` if never.
    expires_at: Option<Timestamp>,
}

/// The key's user, organization and rights.
#[derive(Serialize, JsonSchema)]
struct Me {
    /// The key that is used.
    key: UsedKey,
    /// The user as whom the key acts.
    user: User,
    /// The organization that the key is for.
    organization: Organization,
    /// The user's role in the organization, now.
    role: OrgRole,
    /// What the key may be used for.
    scopes: Vec<String>,
    /// The Spaces that the user is a member of, by name; the first 1,000. `GET /projects` pages
    /// through all of them.
    spaces: Vec<Membership>,
}

/// Who am I?
///
/// The key that is used, and its user, organization, role, scopes and Spaces. Any key may ask.
#[endpoint { method = GET, path = "/api/me", tags = ["System"], operation_id = "me" }]
pub(super) async fn me(ctx: Ctx) -> Answer<Ok200<Me>> {
    let mut call = Call::reading(&ctx, None);
    let (caller, (org, user, key), spaces) = call
        .read(async |tx| {
            let me = accounts::me(tx).await?;
            Ok((tx.caller().clone(), me, spaces::memberships(tx, MAX_ROWS).await?))
        })
        .await?;
    Reply::ok(Me {
        key: UsedKey {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            expires_at: key.expires_at.map(Timestamp::from),
        },
        user: User { id: user.id, email: user.email, name: user.name },
        organization: Organization { id: org.id, slug: org.slug, name: org.name },
        role: caller.role,
        scopes: caller.scopes.names().to_vec(),
        spaces: spaces
            .into_iter()
            .map(|(space, role)| Membership {
                id: space.id,
                slug: space.slug,
                name: space.name,
                role,
            })
            .collect(),
    })
}
