//! API keys.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use progenitor_client::Error as Failure;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use crate::{
    Client, Request,
    envelope::ErrorEnvelope,
    generated,
    pages::{Part, paged},
    request::{idempotency_key, sealed::Run},
    types,
};

/// The API keys of the organization: [`Client::keys`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// use secrecy::ExposeSecret;
///
/// let minted = client.keys().create("Deploy bot", ["memory:read", "memory:write"]).await?;
/// if let Some(secret) = &minted.secret {
///     println!("{} will not be shown again: {}", minted.name, secret.expose_secret());
/// }
/// let rotated = client.keys().rotate(&minted.id).await?;
/// client.keys().revoke(&rotated.id).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    pub(crate) client: &'a Client,
}

impl Keys<'_> {
    /// The keys that are not revoked, newest first, without their secrets.
    pub fn list(&self) -> Request<KeyList> {
        self.client.request(KeyList { part: Part::default() })
    }

    /// Mints a key that acts as the caller, for these scopes: no more than his own key has.
    pub fn create<S: Into<String>>(
        &self,
        name: impl Into<String>,
        scopes: impl IntoIterator<Item = S>,
    ) -> Request<KeyCreate> {
        let body = types::KeyCreate {
            name: name.into(),
            scopes: scopes.into_iter().map(Into::into).collect(),
            expires_at: None,
        };
        self.client.request(KeyCreate { body, idempotency_key: None })
    }

    /// Revokes a key at once and for good. Repeating it is no error.
    pub fn revoke(&self, id: impl Into<String>) -> Request<KeyRevoke> {
        self.client.request(KeyRevoke { id: id.into() })
    }

    /// Gives a key of one's own another secret; the old one is dead at once.
    pub fn rotate(&self, id: impl Into<String>) -> Request<KeyRotate> {
        self.client.request(KeyRotate { id: id.into(), idempotency_key: None })
    }
}

/// A key that was just given its secret. It reads like the [`Key`](types::Key) that it is.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct MintedKey {
    /// The key.
    #[serde(flatten)]
    pub key: types::Key,
    /// The key itself, `sk_live_…`, which the server shows this once. `None` when the request was
    /// answered before, under the same idempotency key.
    #[serde(default, deserialize_with = "secret")]
    pub secret: Option<SecretString>,
}

impl Deref for MintedKey {
    type Target = types::Key;

    fn deref(&self) -> &types::Key {
        &self.key
    }
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Into::into))
}

/// The answer's data around a [`MintedKey`].
#[derive(Clone, Debug, Deserialize)]
pub struct MintedKeyData {
    pub key: MintedKey,
}

/// `GET /keys`: see [`Keys::list`].
#[derive(Clone, Debug)]
pub struct KeyList {
    part: Part,
}

paged!(KeyList, types::Key, keys, id as "id", |_list, api| api.key_list());

/// `POST /keys`: see [`Keys::create`].
#[derive(Clone, Debug)]
pub struct KeyCreate {
    body: types::KeyCreate,
    idempotency_key: Option<String>,
}

impl Request<KeyCreate> {
    /// When it is to cease to work: at most 3,650 days ahead, and not after the caller's own key.
    pub fn expires_at(mut self, at: DateTime<Utc>) -> Self {
        self.operation.body.expires_at = Some(at);
        self
    }

    /// Makes the call safe to repeat for 24 hours; a repetition shows no secret. A new UUID
    /// otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for KeyCreate {
    type Data = MintedKey;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let answer = api.key_create().idempotency_key(key).body(self.body).send().await?;
        Ok(answer.into_inner().data.key)
    }
}

/// `DELETE /keys/{keyId}`: see [`Keys::revoke`].
#[derive(Clone, Debug)]
pub struct KeyRevoke {
    id: String,
}

impl Run for KeyRevoke {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.key_revoke().key_id(self.id).send().await?;
        Ok(())
    }
}

/// `POST /keys/{keyId}/rotate`: see [`Keys::rotate`].
#[derive(Clone, Debug)]
pub struct KeyRotate {
    id: String,
    idempotency_key: Option<String>,
}

impl Request<KeyRotate> {
    /// Makes the call safe to repeat for 24 hours; a repetition shows no secret. A new UUID
    /// otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for KeyRotate {
    type Data = MintedKey;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let answer = api.key_rotate().key_id(self.id).idempotency_key(key).send().await?;
        Ok(answer.into_inner().data.key)
    }
}
