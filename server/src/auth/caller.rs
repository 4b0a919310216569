//! The one who calls.

use super::{OrgRole, Scope, Scopes};
use crate::error::{Error, Result};
use crate::store::ids::{KeyId, OrgId, UserId};

/// An authenticated caller: a key acts as the user who minted it, inside one organization, with
/// that member's current role (contract A2).
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key that was used.
    pub key_id: KeyId,
    /// Its user.
    pub user_id: UserId,
    /// Its organization; there is no other for this request.
    pub org_id: OrgId,
    /// The user's role in the organization, now.
    pub role: OrgRole,
    /// What the key may be used for.
    pub scopes: Scopes,
}

impl Caller {
    /// 403 unless the key has `scope`.
    pub fn require(&self, scope: Scope) -> Result<()> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        Err(Error::forbidden(format!("this key lacks the scope `{}`", scope.as_str())))
    }
}
