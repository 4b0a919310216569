//! The rights that it takes to be shown a kept answer once more (contract A5).
//!
//! An answer is kept for a day, and much may change in a day: whoever has left a Space, or is no
//! longer ADMIN, is told of a repeated request what they would be told of a new one. So each answer
//! is kept together with what it takes, and that is looked at again, in the repeated request's own
//! transaction, through the same queries as everything else.

use super::ids::{MessageId, OrgId, SessionId, SpaceId};
use super::schema::{messages, sessions};
use super::statements::Keep;
use super::{Tx, spaces, visibility};
use crate::auth::{OrgRole, SpaceRole};
use crate::error::{Error, Result};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;

/// A right that it takes to be shown an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// The key and its scope: the answer is about what is the caller's own, or everybody's.
    Caller,
    /// The role OWNER or ADMIN in the organization.
    Manager,
    /// The role OWNER in the organization.
    Owner,
    /// To be a member of this organization, which may be another one than the key's.
    Joined(OrgId),
    /// At least this role in the Space.
    Space(SpaceId, SpaceRole),
    /// The same, and sight of the session.
    Session(SpaceId, SessionId, SpaceRole),
    /// The same, as one who may change the session.
    Change(SpaceId, SessionId),
    /// At least this role in the Space, and sight of the message.
    Message(SpaceId, MessageId, SpaceRole),
}

/// The answer for those who are not in the Space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// That they are not: 403.
    Forbidden,
    /// Nothing, as over MCP: 404.
    Absent,
}

impl Right {
    /// As it is stored.
    pub fn stored(&self) -> String {
        match self {
            Right::Caller => "caller".into(),
            Right::Manager => "manager".into(),
            Right::Owner => "owner".into(),
            Right::Joined(org) => format!("joined {org}"),
            Right::Space(space, role) => format!("space {space} {role}"),
            Right::Session(space, session, role) => format!("session {space} {session} {role}"),
            Right::Change(space, session) => format!("change {space} {session}"),
            Right::Message(space, message, role) => format!("message {space} {message} {role}"),
        }
    }

    /// From what is stored.
    pub fn parse(text: &str) -> Result<Right> {
        let parts: Vec<&str> = text.split(' ').collect();
        Ok(match parts.as_slice() {
            ["caller"] => Right::Caller,
            ["manager"] => Right::Manager,
            ["owner"] => Right::Owner,
            ["joined", org] => Right::Joined(id(org)?),
            ["space", space, role] => Right::Space(id(space)?, role.parse()?),
            ["session", space, session, role] => {
                Right::Session(id(space)?, id(session)?, role.parse()?)
            }
            ["change", space, session] => Right::Change(id(space)?, id(session)?),
            ["message", space, message, role] => {
                Right::Message(id(space)?, id(message)?, role.parse()?)
            }
            _ => return Err(Error::internal(format!("the database holds the right `{text}`"))),
        })
    }

    /// 403 or 404 unless the caller has it now, as of a new request.
    pub async fn check(&self, tx: &mut Tx, outside: Outside) -> Result<()> {
        match self {
            Right::Caller => Ok(()),
            Right::Manager => match tx.caller().role {
                OrgRole::Owner | OrgRole::Admin => Ok(()),
                OrgRole::Member => Err(Error::forbidden(
                    "only an OWNER or ADMIN of the organization may do this, and see what came of it",
                )),
            },
            Right::Owner => match tx.caller().role {
                OrgRole::Owner => Ok(()),
                OrgRole::Admin | OrgRole::Member => {
                    Err(Error::forbidden("only an OWNER of the organization may do this"))
                }
            },
            Right::Joined(org) => joined(tx, org).await,
            Right::Space(space, least) => {
                enter(tx, space, *least, outside, "Space").await.map(drop)
            }
            Right::Session(space, session, least) => {
                enter(tx, space, *least, outside, "session").await?;
                creator(tx, space, session).await.map(drop)
            }
            Right::Change(space, session) => {
                let role = enter(tx, space, SpaceRole::Viewer, outside, "session").await?;
                let own = creator(tx, space, session).await? == tx.caller().user_id.as_str();
                if role.may_edit() || (own && role.may_write()) { Ok(()) } else { Err(too_low()) }
            }
            Right::Message(space, message, least) => {
                enter(tx, space, *least, outside, "message").await?;
                sees_message(tx, message).await
            }
        }
    }
}

fn id<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::internal(format!("the database holds the id `{text}`")))
}

fn too_low() -> Error {
    Error::forbidden("your role in this Space does not allow this any more")
}

fn rank(role: SpaceRole) -> u8 {
    match role {
        SpaceRole::Viewer => 0,
        SpaceRole::Member => 1,
        SpaceRole::Editor => 2,
        SpaceRole::Owner => 3,
    }
}

/// The caller's role in a Space, which is at least `least`. `what` it is about is absent for those
/// who are told nothing of the Space.
async fn enter(
    tx: &mut Tx,
    space: &SpaceId,
    least: SpaceRole,
    outside: Outside,
    what: &str,
) -> Result<SpaceRole> {
    let (_, role) = spaces::view(tx, space).await.map_err(|error| match (error, outside) {
        (Error::Forbidden(_) | Error::NotFound(_), Outside::Absent) => Error::not_found(what),
        (error, _) => error,
    })?;
    if rank(role) >= rank(least) { Ok(role) } else { Err(too_low()) }
}

/// The creator of a session of the Space; 404 for those who cannot see it.
async fn creator(tx: &mut Tx, space: &SpaceId, session: &SessionId) -> Result<String> {
    let caller = tx.caller().clone();
    sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::space_id.eq(space))
        .filter(sessions::id.eq(session))
        .select(sessions::created_by_user_id)
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("session"))
}

/// 404 for who cannot see the message.
async fn sees_message(tx: &mut Tx, message: &MessageId) -> Result<()> {
    let caller = tx.caller().clone();
    let seen: Option<MessageId> = messages::table
        .filter(visibility::message(&caller))
        .filter(messages::id.eq(message))
        .select(messages::id)
        .first(tx.connection())
        .await
        .optional()?;
    seen.map(drop).ok_or_else(|| Error::not_found("message"))
}

/// 403 for who is not in the organization.
async fn joined(tx: &mut Tx, org: &OrgId) -> Result<()> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        member: bool,
    }
    // Raw SQL: a function of ours, since policies show the key's organization alone
    let row: Row = diesel::sql_query("SELECT caller_is_member_of($1) AS member")
        .bind::<Text, _>(org)
        .kept()
        .get_result(tx.connection())
        .await?;
    if row.member {
        return Ok(());
    }
    Err(Error::forbidden("you are not a member of this organization any more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_read_as_it_is_stored_and_another_is_a_defect() {
        let (space, session) = (SpaceId::generate, SessionId::generate);
        for right in [
            Right::Caller,
            Right::Manager,
            Right::Owner,
            Right::Joined(OrgId::generate()),
            Right::Space(space(), SpaceRole::Viewer),
            Right::Session(space(), session(), SpaceRole::Member),
            Right::Change(space(), session()),
            Right::Message(space(), MessageId::generate(), SpaceRole::Member),
        ] {
            assert_eq!(Right::parse(&right.stored()).expect("known"), right);
        }
        for text in ["", "Caller", "space", "space x OWNER", "caller caller"] {
            assert!(matches!(Right::parse(text), Err(Error::Internal(_))), "{text}");
        }
    }

    #[test]
    fn roles_in_a_space_are_in_order() {
        let order = [SpaceRole::Viewer, SpaceRole::Member, SpaceRole::Editor, SpaceRole::Owner];
        assert!(order.map(rank).is_sorted_by(|a, b| a < b));
    }
}
