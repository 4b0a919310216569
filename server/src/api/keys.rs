//! API keys (contract B8, E3, E4).

use super::pages::{PageParams, total};
use super::{Call, Ctx, Kept};
use crate::auth::{ALL_REST, ApiKey, Scope, Scopes, is_known_scope};
use crate::error::{Error, Result};
use crate::http::reply::Rendered;
use crate::http::{
    Answer, Check, Created, IdempotencyKey, Issues, Json, NoContent, Ok200, Params, Reply,
    Timestamp, Unread,
};
use crate::store::ids::{KeyId, UserId};
use crate::store::keys as store;
use crate::store::rights::Right;
use chrono::{DateTime, TimeDelta, Utc};
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use schemars::schema::{
    ArrayValidation, InstanceType, Metadata, Schema, SchemaObject, StringValidation,
};
use serde::{Deserialize, Serialize};

/// Longest name of a key, in characters.
pub const MAX_KEY_NAME: usize = 100;
/// Most scopes of a key: every one there is, and `*`.
pub const MAX_SCOPES: usize = Scope::ALL.len() + 1;
/// How far ahead a key may expire, in days. One that is to last longer need not expire.
pub const MAX_LIFETIME_DAYS: i64 = 3_650;

/// A key, without its secret.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Key {
    /// The key's id; never the key itself.
    id: KeyId,
    /// What it is for.
    #[schemars(example = "example_name")]
    name: String,
    /// How the secret begins, to tell keys apart.
    #[schemars(example = "example_prefix")]
    prefix: String,
    /// What it may be used for.
    scopes: ScopeNames,
    /// The user as whom it acts: the one who minted it.
    user_id: UserId,
    /// When it was minted.
    created_at: Timestamp,
    /// When it was last used, to the minute; `null` if never.
    last_used_at: Option<Timestamp>,
    /// When it ceases to work; `null` if never.
    expires_at: Option<Timestamp>,
}

fn example_name() -> &'static str {
    "Deploy bot"
}

fn example_prefix() -> &'static str {
    "sk_live_4fQz"
}

/// Names of scopes. The OpenAPI document lists them in a description and not as an enumeration,
/// since a later version may know more.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct ScopeNames(Vec<String>);

impl JsonSchema for ScopeNames {
    fn is_referenceable() -> bool {
        false
    }
    fn schema_name() -> String {
        "ScopeNames".into()
    }
    fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> Schema {
        let names = || [ALL_REST].into_iter().chain(Scope::ALL.iter().map(|scope| scope.as_str()));
        let all: Vec<_> = names().map(|name| format!("`{name}`")).collect();
        let patterns: Vec<_> = names().map(|name| name.replace('*', r"\*")).collect();
        let name = SchemaObject {
            instance_type: Some(InstanceType::String.into()),
            metadata: Some(Box::new(Metadata {
                description: Some(format!("One of {}.", all.join(", "))),
                ..Default::default()
            })),
            string: Some(Box::new(StringValidation {
                pattern: Some(format!("^({})$", patterns.join("|"))),
                ..Default::default()
            })),
            extensions: [("example".to_owned(), Scope::MemoryRead.as_str().into())].into(),
            ..Default::default()
        };
        SchemaObject {
            instance_type: Some(InstanceType::Array.into()),
            array: Some(Box::new(ArrayValidation {
                items: Some(Schema::from(name).into()),
                min_items: Some(1),
                max_items: u32::try_from(MAX_SCOPES).ok(),
                unique_items: Some(true),
                ..Default::default()
            })),
            ..Default::default()
        }
        .into()
    }
}

impl From<store::Key> for Key {
    fn from(key: store::Key) -> Self {
        Key {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            scopes: ScopeNames(key.scopes),
            user_id: key.user_id,
            created_at: key.created_at.into(),
            last_used_at: key.last_used_at.map(Timestamp::from),
            expires_at: key.expires_at.map(Timestamp::from),
        }
    }
}

/// Keys that the caller may know of.
#[derive(Serialize, JsonSchema)]
struct KeyList {
    /// Newest first. Revoked ones are not among them, expired ones are.
    keys: Vec<Key>,
    /// How many there are in all.
    total: u32,
}

/// A key that was just given its secret.
#[derive(Serialize, JsonSchema)]
struct MintedKey {
    /// The key.
    #[serde(flatten)]
    key: Key,
    /// The key itself, `sk_live_…`, which is shown this once and kept nowhere. `null` when the
    /// request is repeated with the same `Idempotency-Key`.
    secret: Option<String>,
}

/// One key that was just given its secret.
#[derive(Serialize, JsonSchema)]
struct MintedKeyData {
    /// The key.
    key: MintedKey,
}

/// What is answered with the secret, and what is kept of it.
fn minted<D: Rendered<Data = MintedKeyData>>(
    (key, secret): (store::Key, ApiKey),
    right: Right,
) -> Result<Kept<D>> {
    let data = |secret: Option<String>| {
        let key = MintedKey { key: key.clone().into(), secret };
        MintedKeyData { key }
    };
    Kept::with_secret(&data(Some(secret.expose().to_owned())), &data(None), right)
}

/// A new key.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyCreate {
    /// What it is for.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"\S"), example = "example_name")]
    name: String,
    /// What it may be used for: no more than the key that mints it. `*` is everything but
    /// `messages:agent`, `act_on_behalf` and what is for MCP.
    scopes: ScopeNames,
    /// When it is to cease to work: in the future, at most 3,650 days ahead, and not after the key
    /// that mints it. Without it, it ends with the key that mints it, or never.
    expires_at: Option<DateTime<Utc>>,
}

impl Check for KeyCreate {
    fn check(&self, issues: &mut Issues) {
        issues.length("name", self.name.trim(), 1..=MAX_KEY_NAME);
        let ScopeNames(scopes) = &self.scopes;
        if scopes.is_empty() {
            issues.add("scopes", "too_few", "must have at least one element");
        }
        issues.count("scopes", scopes.len(), MAX_SCOPES);
        issues.within("scopes", |issues| {
            for (i, scope) in scopes.iter().take(MAX_SCOPES).enumerate() {
                if !is_known_scope(scope) {
                    issues.add(i, "unknown_scope", "is not a scope");
                } else if scopes[..i].contains(scope) {
                    issues.add(i, "duplicate", "must be given only once");
                }
            }
        });
    }
}

impl KeyCreate {
    /// 400 unless it expires within the time that is allowed.
    fn into_new(self, now: DateTime<Utc>) -> Result<store::NewKey> {
        if let Some(at) = self.expires_at {
            let refused = |code, message: String| Err(Error::invalid(["expiresAt"], code, message));
            if at <= now {
                return refused("in_the_past", "must be in the future".into());
            }
            if at - now > TimeDelta::days(MAX_LIFETIME_DAYS) {
                let message = format!("must be at most {MAX_LIFETIME_DAYS} days ahead");
                return refused("too_late", message);
            }
        }
        Ok(store::NewKey {
            name: self.name.trim().to_owned(),
            scopes: Scopes::parse(&self.scopes.0)?,
            expires_at: self.expires_at,
        })
    }
}

/// A key by id.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyPath {
    /// The key's id.
    #[schemars(with = "KeyId")]
    key_id: String,
}

impl KeyPath {
    fn parse(&self) -> Result<KeyId> {
        self.key_id.parse().map_err(|_| Error::not_found("key"))
    }
}

/// List keys
///
/// Your own keys, and for OWNERs and ADMINs every key of the organization and whose it is: newest
/// first, without the secret; revoked ones are left out. All of them, up to 1,000; `before` pages
/// through more.
#[endpoint { method = GET, path = "/api/keys", tags = ["Keys"], operation_id = "key_list" }]
pub(super) async fn key_list(
    ctx: Ctx,
    params: Params<PageParams<KeyId>>,
) -> Answer<Ok200<KeyList>> {
    let mut call = Call::reading(&ctx, Scope::KeysRead);
    let paging = call.valid(params.into_inner()).await?.into();
    let listed = call.read(async |tx| store::list(tx, &paging).await).await?;
    Reply::ok(KeyList {
        keys: listed.rows.into_iter().map(Key::from).collect(),
        total: total(listed.total),
    })
}

/// Mint a key
///
/// It acts as the one who mints it. OWNERs and ADMINs of the organization may, each up to 100 keys
/// that are neither revoked nor expired. The answer shows the secret, this once.
///
/// A key hands on what it has: one with `*` every scope, the MCP ones included, any other those
/// that it has by name. And nothing that it mints outlives it.
#[endpoint { method = POST, path = "/api/keys", tags = ["Keys"], operation_id = "key_create" }]
pub(super) async fn key_create(
    ctx: Ctx,
    key: IdempotencyKey,
    body: Unread<KeyCreate>,
) -> Answer<Created<MintedKeyData>> {
    let mut call = Call::writing(&ctx, Scope::KeysWrite).await?;
    let body = call.body(body).await?;
    call.create(key, body, async |tx, body| {
        let new = body.into_new(call.app().store.clock().now())?;
        let made = store::create(tx, &call.app().key_secret, &new).await?;
        let location = format!("{}/keys", super::PREFIX);
        Ok(minted(made, Right::Manager)?.at(location))
    })
    .await
}

/// Revoke a key
///
/// At once and for good. Its user may, also with the key itself, and the organization's OWNERs and
/// ADMINs. Once more is no error.
#[endpoint { method = DELETE, path = "/api/keys/{keyId}", tags = ["Keys"], operation_id = "key_revoke" }]
pub(super) async fn key_revoke(ctx: Ctx, path: Path<KeyPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::KeysWrite).await?;
    let id = path.into_inner().parse()?;
    call.write(async |tx| store::revoke(tx, &id).await).await?;
    Reply::no_content()
}

/// Rotate a key
///
/// The same key with a new secret, which the answer shows, this once; the old one is dead at once.
/// One that has expired is a conflict.
///
/// Only the key's own user may, with a key that may do as much for as long: the new secret acts as
/// him, and an ADMIN who could have that of an OWNER's key would be an OWNER. OWNERs and ADMINs of
/// the organization can revoke it.
#[endpoint { method = POST, path = "/api/keys/{keyId}/rotate", tags = ["Keys"], operation_id = "key_rotate" }]
pub(super) async fn key_rotate(
    ctx: Ctx,
    path: Path<KeyPath>,
    key: IdempotencyKey,
) -> Answer<Ok200<MintedKeyData>> {
    let call = Call::writing(&ctx, Scope::KeysWrite).await?;
    call.create(key, Json::none(), async |tx, ()| {
        let id = path.into_inner().parse()?;
        let made = store::rotate(tx, &call.app().key_secret, &id).await?;
        minted(made, Right::Caller)
    })
    .await
}
