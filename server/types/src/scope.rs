//! What a key may be used for. The list is closed.

use crate::error::{Error, Result};

macro_rules! scopes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// One thing that a key may be used for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Scope {
            $($(#[$doc])* $variant,)*
        }

        impl Scope {
            /// Every scope, in the order in which they are documented.
            pub const ALL: &'static [Scope] = &[$(Scope::$variant,)*];

            /// The scope's name.
            pub fn as_str(self) -> &'static str {
                match self { $(Scope::$variant => $text,)* }
            }
        }
    };
}

scopes! {
    /// List and view Spaces.
    SpacesRead = "spaces:read",
    /// Create and change Spaces.
    SpacesWrite = "spaces:write",
    /// List and view sessions.
    SessionsRead = "sessions:read",
    /// Create, change and archive sessions.
    SessionsWrite = "sessions:write",
    /// Read messages.
    MessagesRead = "messages:read",
    /// Post messages and reactions.
    MessagesWrite = "messages:write",
    /// Post messages as an agent.
    MessagesAgent = "messages:agent",
    /// List and search the memory.
    MemoryRead = "memory:read",
    /// Write and delete notes.
    MemoryWrite = "memory:write",
    /// List members and invitations.
    OrgRead = "org:read",
    /// Invite, change roles, remove.
    OrgWrite = "org:write",
    /// See the credit balance.
    BillingRead = "billing:read",
    /// Check out, top up, open the portal.
    BillingWrite = "billing:write",
    /// List integrations.
    McpServersRead = "mcp:servers:read",
    /// Register, test, bind and delete integrations.
    McpServersWrite = "mcp:servers:write",
    /// List keys.
    KeysRead = "keys:read",
    /// Mint, rotate and revoke keys.
    KeysWrite = "keys:write",
    /// Over MCP: search the memory.
    McpMemoryRead = "mcp:memory:read",
    /// Over MCP: add notes.
    McpMemoryWrite = "mcp:memory:write",
    /// Over MCP: list and view Spaces.
    McpSpacesRead = "mcp:spaces:read",
    /// Over MCP: list sessions and read transcripts.
    McpSessionsRead = "mcp:sessions:read",
    /// Over MCP: post messages.
    McpMessagesWrite = "mcp:messages:write",
    /// Act for another member, named by a header.
    ActOnBehalf = "act_on_behalf",
}

/// All REST scopes at once; neither the MCP ones nor those that speak for somebody else.
pub const ALL_REST: &str = "*";

/// The scopes of one key, as they were minted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// Scopes by name. Names that are not on the list are refused: 400.
    pub fn parse(names: &[String]) -> Result<Self> {
        let issues = names
            .iter()
            .enumerate()
            .filter(|(_, name)| !is_known(name))
            .map(|(i, name)| crate::error::Issue {
                path: vec!["scopes".into(), i.into()],
                code: "unknown_scope",
                message: format!("`{name}` is not a scope"),
            })
            .collect::<Vec<_>>();
        if issues.is_empty() { Ok(Scopes(names.to_vec())) } else { Err(Error::Invalid(issues)) }
    }

    /// What the database holds; a name from a later version simply allows nothing here.
    pub fn stored(names: Vec<String>) -> Self {
        Scopes(names)
    }

    /// Every REST scope.
    pub fn all_rest() -> Self {
        Scopes(vec![ALL_REST.to_owned()])
    }

    /// Whether these include `scope`.
    pub fn allow(&self, scope: Scope) -> bool {
        let by_star = !matches!(
            scope,
            Scope::McpMemoryRead
                | Scope::McpMemoryWrite
                | Scope::McpSpacesRead
                | Scope::McpSessionsRead
                | Scope::McpMessagesWrite
                | Scope::MessagesAgent
                | Scope::ActOnBehalf
        );
        self.0.iter().any(|name| name == scope.as_str() || (by_star && name == ALL_REST))
    }

    /// Which of `names` a key with these scopes may not hand on to another key of the same user.
    ///
    /// A key hands on what it has. `*` is handed on by `*` alone, which hands on everything else
    /// too: the MCP scopes and those that speak for somebody are kept out of it so that no key has
    /// them by accident, not because its user would have no right to them.
    pub fn lacking<'a>(&self, names: &'a [String]) -> Vec<&'a str> {
        let all = self.0.iter().any(|own| own == ALL_REST);
        let lacks = |name: &&str| !all && !self.0.iter().any(|own| own == name);
        names.iter().map(String::as_str).filter(lacks).collect()
    }

    /// The names, as they were minted.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

/// Whether there is such a scope, `*` included.
pub fn is_known(name: &str) -> bool {
    name == ALL_REST || Scope::ALL.iter().any(|scope| scope.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_star_covers_rest_and_nothing_else() {
        let star = Scopes::all_rest();
        for scope in Scope::ALL {
            let rest = !scope.as_str().starts_with("mcp:") || scope.as_str().contains("servers");
            let rest = rest && !matches!(scope, Scope::ActOnBehalf | Scope::MessagesAgent);
            assert_eq!(star.allow(*scope), rest, "{}", scope.as_str());
        }
    }

    #[test]
    fn a_scope_by_name_allows_itself_and_nothing_else() {
        for own in Scope::ALL {
            let scopes = Scopes::parse(&[own.as_str().to_owned()]).expect("known");
            for wanted in Scope::ALL {
                assert_eq!(scopes.allow(*wanted), own == wanted, "{own:?} {wanted:?}");
            }
        }
        let unknown = Scopes::stored(vec!["spaces:paint".to_owned()]);
        assert!(Scope::ALL.iter().all(|wanted| !unknown.allow(*wanted)));
        assert!(Scope::ALL.iter().all(|wanted| !Scopes::stored(Vec::new()).allow(*wanted)));
    }

    #[test]
    fn the_list_is_closed_and_every_name_on_it_is_another() {
        let names: std::collections::BTreeSet<_> = Scope::ALL.iter().map(|s| s.as_str()).collect();
        assert_eq!(names.len(), Scope::ALL.len());
        assert!(names.into_iter().chain(["*"]).all(is_known));
        for name in ["", "**", "spaces:*", "Spaces:read", "spaces:read ", "spaces", "memory:reed"] {
            assert!(!is_known(name), "{name}");
        }
    }

    #[test]
    fn the_names_are_those_that_were_minted() {
        let names = ["memory:read".to_owned(), "*".to_owned()];
        assert_eq!(Scopes::parse(&names).expect("known").names(), names);
        assert_eq!(Scopes::stored(names.to_vec()).names(), names);
        assert_eq!(Scopes::all_rest().names(), ["*"]);
    }

    #[test]
    fn a_key_hands_on_what_it_has_and_the_star_everything() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let all: Vec<&str> = Scope::ALL.iter().map(|s| s.as_str()).chain([ALL_REST]).collect();
        assert_eq!(Scopes::all_rest().lacking(&names(&all)), [""; 0]);
        let some = Scopes::stored(names(&["keys:write", "mcp:memory:read"]));
        assert_eq!(some.lacking(&names(&["mcp:memory:read"])), [""; 0]);
        let wanted = names(&["*", "keys:write", "act_on_behalf"]);
        assert_eq!(some.lacking(&wanted), ["*", "act_on_behalf"]);
        // not even a key with everything by name has the star
        let named = Scopes::stored(names(&all[..all.len() - 1]));
        assert_eq!(named.lacking(&names(&["*"])), ["*"]);
    }

    #[test]
    fn an_unknown_scope_is_named_by_its_index() {
        let names = ["memory:read".to_owned(), "memory:reed".to_owned()];
        let Err(Error::Invalid(issues)) = Scopes::parse(&names) else { panic!("accepted") };
        assert_eq!(issues[0].path, vec!["scopes".into(), 1usize.into()]);
    }
}
