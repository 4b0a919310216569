//! Delegations (contract E7): what a member lets somebody else's key do.

use super::{Call, Ctx};
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::http::{Answer, NoContent, Ok200, Reply, Timestamp};
use crate::store::delegations as store;
use crate::store::ids::{KeyId, UserId};
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key of somebody else to which the caller has opened what is theirs alone.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Delegation {
    /// The key's id.
    key_id: KeyId,
    /// The key's name, as its user gave it.
    key_name: String,
    /// How the key's secret begins.
    key_prefix: String,
    /// The user whose key it is.
    key_user_id: UserId,
    /// Since when.
    created_at: Timestamp,
}

impl From<store::Delegation> for Delegation {
    fn from(delegation: store::Delegation) -> Self {
        Delegation {
            key_id: delegation.key_id,
            key_name: delegation.name,
            key_prefix: delegation.prefix,
            key_user_id: delegation.key_user_id,
            created_at: delegation.created_at.into(),
        }
    }
}

/// The caller's delegations.
#[derive(Serialize, JsonSchema)]
struct DelegationList {
    /// Newest first; those of keys that work no more are not among them.
    delegations: Vec<Delegation>,
}

/// One delegation.
#[derive(Serialize, JsonSchema)]
struct DelegationData {
    /// The delegation.
    delegation: Delegation,
}

/// A key by id.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DelegationPath {
    /// The id of the key that acts for others.
    #[schemars(with = "KeyId")]
    key_id: String,
}

impl DelegationPath {
    fn parse(&self) -> Result<KeyId> {
        self.key_id.parse().map_err(|_| Error::not_found("key that acts for others"))
    }
}

/// List delegations
///
/// The keys of others to which you have opened your PRIVATE notes and your private sessions.
#[endpoint { method = GET, path = "/api/me/delegations", tags = ["Keys"], operation_id = "delegation_list" }]
pub(super) async fn delegation_list(ctx: Ctx) -> Answer<Ok200<DelegationList>> {
    let mut call = Call::reading(&ctx, Scope::KeysRead);
    let delegations = call
        .read(async |tx| store::list(tx).await)
        .await?
        .into_iter()
        .map(Delegation::from)
        .collect();
    Reply::ok(DelegationList { delegations })
}

/// Allow a key to act for you
///
/// When it acts for you (the scope `act_on_behalf`), the key reaches your PRIVATE notes and your
/// private sessions from now on, until you end that, the key is revoked or expires, or its user or
/// you leave. Once more is no error. Without this, such a key sees and does for you what others see
/// as well. A key of your own needs no delegation: 409.
///
/// The key with which you ask needs also the scopes that it opens: `memory:read`, `memory:write`,
/// `sessions:read`, `messages:read` and `messages:write`.
#[endpoint { method = PUT, path = "/api/me/delegations/{keyId}", tags = ["Keys"], operation_id = "delegation_allow" }]
pub(super) async fn delegation_allow(
    ctx: Ctx,
    path: Path<DelegationPath>,
) -> Answer<Ok200<DelegationData>> {
    let call = Call::writing(&ctx, Scope::KeysWrite).await?;
    let id = path.into_inner().parse()?;
    let delegation = call.write(async |tx| store::allow(tx, &id).await).await?.into();
    Reply::ok(DelegationData { delegation })
}

/// End a delegation
///
/// From the next request on, your PRIVATE notes and your private sessions are closed to the key
/// again. Once more is no error.
#[endpoint { method = DELETE, path = "/api/me/delegations/{keyId}", tags = ["Keys"], operation_id = "delegation_end" }]
pub(super) async fn delegation_end(ctx: Ctx, path: Path<DelegationPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::KeysWrite).await?;
    let id = path.into_inner().parse()?;
    call.write(async |tx| store::end(tx, &id).await).await?;
    Reply::no_content()
}
