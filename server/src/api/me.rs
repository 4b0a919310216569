//! `GET /me`: what a client shows first.

use super::{Ctx, Reading};
use crate::auth::{OrgRole, SpaceRole};
use crate::http::{Answer, Ok200, Reply};
use crate::store::ids::{OrgId, SpaceId, UserId};
use crate::store::{accounts, spaces};
use dropshot::endpoint;
use futures::FutureExt;
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

/// The key's user, organization and rights.
#[derive(Serialize, JsonSchema)]
struct Me {
    /// The user as whom the key acts.
    user: User,
    /// The organization that the key is for.
    organization: Organization,
    /// The user's role in the organization, now.
    role: OrgRole,
    /// What the key may be used for.
    scopes: Vec<String>,
    /// The Spaces that the user is a member of, by name.
    spaces: Vec<Membership>,
}

/// Who am I?
///
/// The user, organization, role, scopes and Spaces of the key that is used. Any key may ask.
#[endpoint { method = GET, path = "/api/me", tags = ["System"], operation_id = "me" }]
pub(super) async fn me(ctx: Ctx) -> Answer<Ok200<Me>> {
    let (call, (org, user, spaces)) = Reading::new(&ctx, None)
        .run((), |tx, ()| {
            let me = async move {
                let (org, user) = accounts::me(tx).await?;
                Ok((org, user, spaces::memberships(tx).await?))
            };
            me.boxed()
        })
        .await?;
    Reply::ok(Me {
        user: User { id: user.id, email: user.email, name: user.name },
        organization: Organization { id: org.id, slug: org.slug, name: org.name },
        role: call.caller().role,
        scopes: call.caller().scopes.names().to_vec(),
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
