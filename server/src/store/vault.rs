//! Secrets of tenants at rest: sealed by this process, under a key that the database does not have
//! unless it must (contract B7).
//!
//! XChaCha20-Poly1305 with a random nonce. Organization and reference are authenticated with it: a
//! ciphertext that is moved to another row, or copied to another tenant, opens for nobody.

use super::ids::{OrgId, SecretId};
use super::schema::vault_secrets;
use super::{Store, Tx, secrets};
use crate::error::{Error, Result};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use hkdf::Hkdf;
use rand::TryRngCore;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;
use std::sync::Arc;

/// Bytes of a data key, and of what it is made from when nobody gives it.
pub const KEY_BYTES: usize = 32;

/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// Separates this use of the operator's secret from every other.
const DERIVATION: &[u8] = b"switchy vault key v1";
/// What tells whether a secret was sealed under this key.
const FINGERPRINT: &[u8] = b"switchy vault key id v1";
/// What a ciphertext belongs to begins so.
const CONTEXT: &str = "switchy vault v1";

/// The vault of one installation. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    key: Arc<SecretBox<[u8; KEY_BYTES]>>,
    key_id: Arc<str>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The reference, unique in the organization.
    pub id: SecretId,
    /// Fingerprint of the key that sealed it.
    pub key_id: String,
    /// 24 random bytes.
    pub nonce: Vec<u8>,
    /// The secret and its tag.
    pub ciphertext: Vec<u8>,
}

/// A secret that does not open: sealed under another key, or not what was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The server was given another key since.
    #[error("it was sealed under another key")]
    OtherKey,
    /// The row was changed, or is another's.
    #[error("it is not what was sealed")]
    Broken,
}

/// What a ciphertext belongs to. Ids have letters and digits only, so no two places are alike.
fn place(org: &OrgId, id: &SecretId) -> Vec<u8> {
    format!("{CONTEXT}\u{1f}{org}\u{1f}{id}").into_bytes()
}

impl Vault {
    /// Under a key made from whatever the operator, a file or the database keeps.
    pub fn derive(material: &[u8]) -> Result<Self> {
        let kdf = Hkdf::<Sha256>::new(None, material);
        let (mut key, mut fingerprint) = ([0u8; KEY_BYTES], [0u8; 8]);
        kdf.expand(DERIVATION, &mut key).map_err(|e| Error::internal(e.to_string()))?;
        kdf.expand(FINGERPRINT, &mut fingerprint).map_err(|e| Error::internal(e.to_string()))?;
        let key_id: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Vault { key: Arc::new(SecretBox::new(Box::new(key))), key_id: key_id.into() })
    }

    /// Under a random key that the database keeps: for servers that share a database, and nothing
    /// else. Key and ciphertext are then in one place.
    pub async fn of_database(store: &Store) -> Result<Self> {
        Vault::derive(secrets::vault_key(store).await?.expose_secret())
    }

    /// The fingerprint of its key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.key.expose_secret()))
    }

    /// Seals a secret of the organization, under a reference of its own.
    pub fn seal(&self, org: &OrgId, secret: &SecretString) -> Result<Sealed> {
        let id = SecretId::generate();
        let mut nonce = [0u8; NONCE_BYTES];
        rand::rngs::OsRng.try_fill_bytes(&mut nonce).map_err(Error::internal)?;
        let aad = place(org, &id);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &aad };
        let ciphertext = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::internal("a secret could not be sealed"))?;
        Ok(Sealed { id, key_id: self.key_id.to_string(), nonce: nonce.to_vec(), ciphertext })
    }

    /// Opens a secret of the organization.
    pub fn open(&self, org: &OrgId, sealed: &Sealed) -> Result<SecretString, VaultError> {
        if sealed.key_id != *self.key_id {
            return Err(VaultError::OtherKey);
        }
        let nonce: [u8; NONCE_BYTES] =
            sealed.nonce.as_slice().try_into().map_err(|_| VaultError::Broken)?;
        let aad = place(org, &sealed.id);
        let payload = Payload { msg: &sealed.ciphertext, aad: &aad };
        let opened =
            self.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Broken)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| VaultError::Broken)
    }
}

/// Puts a sealed secret into the vault of the caller's organization.
pub async fn put(tx: &mut Tx, sealed: &Sealed) -> Result<()> {
    let org = tx.caller().org_id.clone();
    diesel::insert_into(vault_secrets::table)
        .values((
            vault_secrets::org_id.eq(org),
            vault_secrets::id.eq(&sealed.id),
            vault_secrets::key_id.eq(&sealed.key_id),
            vault_secrets::nonce.eq(&sealed.nonce),
            vault_secrets::ciphertext.eq(&sealed.ciphertext),
        ))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// How many secrets of this database were sealed under another key: they cannot be used.
pub async fn unreadable(store: &Store, vault: &Vault) -> Result<u64> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let mut tx = store.begin_system().await?;
    let row: Count =
        diesel::sql_query("SELECT count(*) AS count FROM vault_secrets WHERE key_id <> $1")
            .bind::<Text, _>(vault.key_id())
            .get_result(tx.connection())
            .await?;
    tx.commit().await?;
    Ok(row.count.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vault(material: &[u8]) -> Vault {
        Vault::derive(material).expect("a key")
    }

    #[test]
    fn what_is_sealed_opens_for_its_organization_alone() {
        let (vault, org, other) = (vault(b"a"), OrgId::generate(), OrgId::generate());
        let sealed = vault.seal(&org, &"s3cret".into()).expect("sealed");
        assert_eq!(vault.open(&org, &sealed).expect("opens").expose_secret(), "s3cret");
        assert_eq!(vault.open(&other, &sealed).err(), Some(VaultError::Broken));
        let moved = Sealed { id: SecretId::generate(), ..sealed };
        assert_eq!(vault.open(&org, &moved).err(), Some(VaultError::Broken));
    }

    #[test]
    fn another_key_is_told_from_a_broken_secret() {
        let org = OrgId::generate();
        let sealed = vault(b"a").seal(&org, &"s3cret".into()).expect("sealed");
        assert_eq!(vault(b"b").open(&org, &sealed).err(), Some(VaultError::OtherKey));
        let forged = Sealed { key_id: vault(b"b").key_id().to_owned(), ..sealed.clone() };
        assert_eq!(vault(b"b").open(&org, &forged).err(), Some(VaultError::Broken));
        let short = Sealed { nonce: vec![0; 12], ..sealed };
        assert_eq!(vault(b"a").open(&org, &short).err(), Some(VaultError::Broken));
    }

    #[test]
    fn two_seals_of_one_secret_are_not_alike_and_debug_shows_neither() {
        let (vault, org) = (vault(b"a"), OrgId::generate());
        let (a, b) = (vault.seal(&org, &"s3cret".into()), vault.seal(&org, &"s3cret".into()));
        let (a, b) = (a.expect("sealed"), b.expect("sealed"));
        assert!(a.nonce != b.nonce && a.ciphertext != b.ciphertext && a.id != b.id);
        let shown = format!("{vault:?}");
        assert!(shown.contains(vault.key_id()) && shown.len() < 60, "{shown}");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_and_no_changed_byte_goes_unnoticed(
            text in ".{0,200}", at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let (vault, org) = (vault(b"a"), OrgId::generate());
            let sealed = vault.seal(&org, &text.clone().into()).expect("sealed");
            let opened = vault.open(&org, &sealed).expect("opens");
            prop_assert_eq!(opened.expose_secret(), text.as_str());
            let mut changed = sealed;
            let at = at.index(changed.ciphertext.len());
            changed.ciphertext[at] ^= 1 << bit;
            prop_assert_eq!(vault.open(&org, &changed).err(), Some(VaultError::Broken));
        }
    }
}
