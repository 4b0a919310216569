//! `member` and `invite`.

use clap::{Subcommand, ValueEnum};
use switchy::types;

use super::Paging;

/// A role in the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything, billing and roles included
    Owner,
    /// Manages members, keys and integrations
    Admin,
    /// Works in Spaces
    Member,
}

impl From<Role> for types::OrgRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Member => Self::Member,
        }
    }
}

/// What somebody is invited as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum InvitedRole {
    /// Manages members, keys and integrations
    Admin,
    /// Works in Spaces
    #[default]
    Member,
}

impl From<InvitedRole> for types::InvitedRole {
    fn from(role: InvitedRole) -> Self {
        match role {
            InvitedRole::Admin => Self::Admin,
            InvitedRole::Member => Self::Member,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Member {
    /// List everybody in the organization
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Give a member another role
    Role {
        /// The member: an e-mail address or a user id
        member: String,
        /// The new role
        #[arg(value_enum, ignore_case = true)]
        role: Role,
    },
    /// Remove members: their keys stop working at once, for good
    Remove {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// The members: e-mail addresses or user ids
        #[arg(required = true, value_name = "MEMBER")]
        members: Vec<String>,
    },
    /// Leave the organization: your keys of it stop working at once, for good
    Leave {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Invite {
    /// List the invitations that can still be accepted
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Invite somebody into the organization
    Create {
        /// The e-mail address
        email: String,
        /// As what
        #[arg(long, value_enum, default_value_t, ignore_case = true)]
        role: InvitedRole,
    },
    /// Make invitations void
    Revoke {
        /// The invitations: ids or e-mail addresses
        #[arg(required = true, value_name = "INVITATION")]
        invitations: Vec<String>,
    },
    /// Join the organization that an invitation leads into
    Accept {
        /// The invitation's token, or its URL; - reads it from standard input, where others cannot
        /// see it
        token: String,
    },
}
