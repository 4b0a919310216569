//! Roles in an organization and in a Space.

use crate::error::Error;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

macro_rules! role {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[derive(clap::ValueEnum)]
        #[clap(rename_all = "UPPER")]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// As the contract and the database spell it.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($text => Ok($name::$variant),)*
                    other => Err(Error::internal(format!(
                        concat!("the database holds an unknown ", stringify!($name), ": {}"), other
                    ))),
                }
            }
        }
    };
}

role!(
    /// What a member may do in the organization.
    OrgRole {
        /// Everything, billing and roles included.
        Owner = "OWNER",
        /// Manages members, keys and integrations.
        Admin = "ADMIN",
        /// Works in Spaces.
        Member = "MEMBER",
    }
);

role!(
    /// What a Space member may do in the Space.
    SpaceRole {
        /// Everything, members included.
        Owner = "OWNER",
        /// Changes the Space, and what others made in it.
        Editor = "EDITOR",
        /// Writes.
        Member = "MEMBER",
        /// Reads.
        Viewer = "VIEWER",
    }
);

impl SpaceRole {
    /// Whether the role may create sessions, post, and write SPACE memories.
    pub fn may_write(self) -> bool {
        self != SpaceRole::Viewer
    }

    /// Whether the role may change what others made.
    pub fn may_edit(self) -> bool {
        matches!(self, SpaceRole::Owner | SpaceRole::Editor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_space_all_but_viewers_write_and_owners_and_editors_edit() {
        for (role, writes, edits) in [
            (SpaceRole::Owner, true, true),
            (SpaceRole::Editor, true, true),
            (SpaceRole::Member, true, false),
            (SpaceRole::Viewer, false, false),
        ] {
            assert_eq!((role.may_write(), role.may_edit()), (writes, edits), "{role}");
        }
    }

    #[test]
    fn a_role_is_read_as_it_is_spelled_and_an_unknown_one_is_a_defect() {
        for role in [OrgRole::Owner, OrgRole::Admin, OrgRole::Member] {
            assert_eq!(role.to_string().parse::<OrgRole>().expect("a role"), role);
        }
        for role in [SpaceRole::Owner, SpaceRole::Editor, SpaceRole::Member, SpaceRole::Viewer] {
            assert_eq!(role.to_string().parse::<SpaceRole>().expect("a role"), role);
        }
        for text in ["", "owner", "VIEWER", "OWNER "] {
            assert!(matches!(text.parse::<OrgRole>(), Err(Error::Internal(_))), "{text}");
        }
    }
}
