//! The one who calls.

use crate::error::{Error, Result};
use crate::ids::{KeyId, OrgId, UserId};
use crate::{OrgRole, Scope, Scopes};

/// Whether a call may touch PRIVATE notes at all; whose they are is another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateNotes {
    /// Those of the call's user.
    Open,
    /// None, not even those of the call's user: the call does not say for whom it is made.
    Closed,
    /// None, and no private sessions either: somebody else's key acts for the call's user, who has
    /// not consented to that.
    Withheld,
}

/// An authenticated caller: a key acts as the user who minted it, inside one organization, with
/// that member's current role.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Not open only over MCP: when nobody said for whom the call is made, or when that member has
    /// not consented.
    pub private_notes: PrivateNotes,
    /// The key is another's, and acts for [`Caller::user_id`] (scope `act_on_behalf`).
    pub on_behalf: bool,
}

impl Caller {
    /// As whom PRIVATE notes may be read; nobody's id when they are closed.
    pub fn private_reader(&self) -> &str {
        match self.private_notes {
            PrivateNotes::Open => self.user_id.as_str(),
            PrivateNotes::Closed | PrivateNotes::Withheld => "",
        }
    }

    /// As whose creator private sessions may be seen; nobody's id when the user has not consented to
    /// the key that acts for them.
    pub fn private_creator(&self) -> &str {
        match self.private_notes {
            PrivateNotes::Open | PrivateNotes::Closed => self.user_id.as_str(),
            PrivateNotes::Withheld => "",
        }
    }

    /// 403 unless the key has `scope`.
    pub fn require(&self, scope: Scope) -> Result<()> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        Err(Error::forbidden(format!("this key lacks the scope `{}`", scope.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(scopes: &[Scope], private_notes: PrivateNotes) -> Caller {
        Caller {
            key_id: KeyId::generate(),
            user_id: UserId::generate(),
            org_id: OrgId::generate(),
            role: OrgRole::Owner,
            scopes: Scopes::stored(scopes.iter().map(|s| s.as_str().to_owned()).collect()),
            private_notes,
            on_behalf: false,
        }
    }

    #[test]
    fn private_notes_are_read_as_the_user_and_as_nobody_when_they_are_closed() {
        let open = caller(&[], PrivateNotes::Open);
        assert_eq!(open.private_reader(), open.user_id.as_str());
        assert_eq!(open.private_creator(), open.user_id.as_str());
        let closed = caller(&[], PrivateNotes::Closed);
        assert_eq!(closed.private_reader(), "");
        assert_eq!(closed.private_creator(), closed.user_id.as_str());
        let withheld = caller(&[], PrivateNotes::Withheld);
        assert_eq!((withheld.private_reader(), withheld.private_creator()), ("", ""));
    }

    #[test]
    fn what_the_key_has_no_scope_for_is_forbidden_and_says_which_is_lacking() {
        for own in Scope::ALL {
            let caller = caller(&[*own], PrivateNotes::Open);
            for wanted in Scope::ALL {
                match caller.require(*wanted) {
                    Ok(()) => assert_eq!(own, wanted),
                    Err(Error::Forbidden(message)) => {
                        assert_ne!(own, wanted);
                        assert!(message.contains(&format!("`{}`", wanted.as_str())), "{message}");
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}
