//! Secrets that servers of one database share: the operator's, or the database's.

use super::{LazyTransaction, Store};
use crate::auth::KeySecret;
use crate::error::{Error, Result};
use diesel::QueryableByName;
use diesel::sql_types::{Binary, Text};
use diesel_async::RunQueryDsl;
use rand::TryRngCore;
use secrecy::{ExposeSecret, SecretBox, SecretString};

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Binary)]
    value: Vec<u8>,
}

/// Stores `value` under `name` unless there is one; returns the one that is there.
async fn keep(connection: &mut LazyTransaction, name: &str, value: &[u8]) -> Result<Vec<u8>> {
    diesel::sql_query(
        "INSERT INTO server_secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(name)
    .bind::<Binary, _>(value)
    .execute(connection)
    .await?;
    let kept: Value = diesel::sql_query("SELECT value FROM server_secrets WHERE name = $1")
        .bind::<Text, _>(name)
        .get_result(connection)
        .await?;
    Ok(kept.value)
}

/// What the vault's key is made from where nobody gives anything better: random, and kept beside
/// what it seals.
pub async fn vault_key(store: &Store) -> Result<SecretBox<[u8]>> {
    let mut tx = store.begin_system().await?;
    let mut random = [0u8; super::vault::KEY_BYTES];
    rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(Error::internal)?;
    let kept = keep(tx.connection(), "vault_key", &random).await?;
    tx.commit().await?;
    Ok(SecretBox::new(kept.into_boxed_slice()))
}

/// The secret that all servers of this database share. Without `given`, a random one is kept in
/// the database; with it, the database only remembers a fingerprint, and a server that was given
/// another secret is refused, since it could authenticate nobody.
pub async fn key_secret(store: &Store, given: Option<&SecretString>) -> Result<KeySecret> {
    let mut tx = store.begin_system().await?;
    let secret = match given {
        Some(given) => KeySecret::derive(given.expose_secret().as_bytes()),
        None => {
            let mut random = [0u8; 32];
            rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(Error::internal)?;
            KeySecret::derive(&keep(tx.connection(), "key_secret", &random).await?)
        }
    };
    let fingerprint = keep(tx.connection(), "key_secret_check", &secret.fingerprint()).await?;
    if fingerprint != secret.fingerprint() {
        return Err(Error::conflict(
            "the keys of this database were made under another SWITCHY_SECRET_KEY: start with that \
             one (or without any, if it was never set)",
        ));
    }
    tx.commit().await?;
    Ok(secret)
}
