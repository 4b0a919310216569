//! What a key may ask for in any 60 seconds: every tool has a quota of its own, and none of them
//! touches the limits of the REST API (contract A6, B9).

use super::message::Message;
use super::tools::Tool;
use crate::limits::Quota;
use std::str::FromStr;

/// Calls of one key in any 60 seconds; 0 means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// `search_memory` and the prompt `recall`, together.
    pub search: u32,
    /// `list_spaces`, `get_space`, `list_sessions`, and reading resources: each by itself.
    pub list: u32,
    /// `get_session_transcript`.
    pub transcript: u32,
    /// `add_memory`.
    pub add_memory: u32,
    /// `post_message`.
    pub post_message: u32,
    /// Everything else together: `initialize`, `ping`, the lists of what there is, what is unknown.
    pub other: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Quotas {
            search: 30,
            list: 60,
            transcript: 30,
            add_memory: 20,
            post_message: 10,
            other: 120,
        }
    }
}

impl Quotas {
    /// No limits at all.
    pub fn unlimited() -> Self {
        Quotas { search: 0, list: 0, transcript: 0, add_memory: 0, post_message: 0, other: 0 }
    }

    /// What a message is counted against; `None`: it could not be read.
    pub(super) fn of(&self, message: Option<&Message>) -> Quota {
        let (bucket, limit) = match message.map(|m| (m.tool(), m.method())) {
            Some((Some(tool), _)) => match tool {
                Tool::SearchMemory => ("mcp:search_memory", self.search),
                Tool::AddMemory => ("mcp:add_memory", self.add_memory),
                Tool::ListSpaces => ("mcp:list_spaces", self.list),
                Tool::GetSpace => ("mcp:get_space", self.list),
                Tool::ListSessions => ("mcp:list_sessions", self.list),
                Tool::GetSessionTranscript => ("mcp:get_session_transcript", self.transcript),
                Tool::PostMessage => ("mcp:post_message", self.post_message),
            },
            // the same search by another name
            Some((None, "prompts/get")) => ("mcp:search_memory", self.search),
            Some((None, "resources/list" | "resources/read")) => ("mcp:resources", self.list),
            _ => ("mcp:other", self.other),
        };
        Quota { bucket, limit }
    }
}

/// Highest quota that can be set.
const MAX_QUOTA: u32 = 1_000_000;

/// `search=30,list=60`: what is not named keeps its default.
impl FromStr for Quotas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut quotas = Quotas::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, number) = part.split_once('=').ok_or("expected NAME=NUMBER,…")?;
            let number = number.trim().parse().ok().filter(|n| *n <= MAX_QUOTA);
            let number = number.ok_or_else(|| format!("{part}: expected 0 to {MAX_QUOTA}"))?;
            *match name.trim() {
                "search" => &mut quotas.search,
                "list" => &mut quotas.list,
                "transcript" => &mut quotas.transcript,
                "add_memory" => &mut quotas.add_memory,
                "post_message" => &mut quotas.post_message,
                "other" => &mut quotas.other,
                unknown => {
                    return Err(format!(
                        "{unknown} is none of search, list, transcript, add_memory, post_message, \
                         other"
                    ));
                }
            } = number;
        }
        Ok(quotas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_keeps_its_default() {
        let quotas: Quotas = " search=5, other=0 ".parse().expect("quotas");
        assert_eq!(quotas, Quotas { search: 5, other: 0, ..Quotas::default() });
        assert_eq!("".parse(), Ok(Quotas::default()));
        for wrong in ["search", "search=x", "serch=1", "search=-1", "search=1000001"] {
            assert!(wrong.parse::<Quotas>().is_err(), "{wrong}");
        }
    }
}
