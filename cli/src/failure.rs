//! Why a command failed, how that is told, and with which code the process ends.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use switchy::ErrorCode;

use crate::output::{colours_wanted, printable};

/// The exit codes that `--help` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Unexpected = 1,
    Usage = 2,
    Authentication = 3,
    Forbidden = 4,
    NotFound = 5,
    Conflict = 6,
    Invalid = 7,
    RateLimited = 8,
    Unavailable = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    /// A sentence; `None` when everything has been said.
    message: Option<String>,
    details: Vec<String>,
    request_id: Option<String>,
    hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: Some(message.into()),
            details: Vec::new(),
            request_id: None,
            hint: None,
        }
    }

    /// The command itself makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file of this machine does not do what it should.
    pub fn file(what: &str, path: &Path, cause: impl fmt::Display) -> Self {
        Self::new(Exit::Unexpected, format!("cannot {what} {}: {cause}", path.display()))
    }

    /// Ends the process with this code; why has been said already.
    pub fn told(exit: Exit) -> Self {
        Self { exit, message: None, details: Vec::new(), request_id: None, hint: None }
    }

    /// What to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// About what the message is: `cmo5…: no such memory`.
    pub fn about(mut self, subject: &str) -> Self {
        self.message = self.message.map(|message| format!("{subject}: {message}"));
        self
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Says on standard error what happened, and returns the code to end with.
    pub fn report(&self) -> Exit {
        if let Some(message) = &self.message {
            let colours = colours_wanted(io::stderr().is_terminal());
            let style = |style: Style| if colours { style } else { Style::new() };
            let red = style(AnsiColor::Red.on_default().bold());
            let bold = style(Style::new().bold());
            let mut text = format!("{red}error:{red:#} {}\n", printable(message));
            for detail in &self.details {
                text += &format!("  {}\n", printable(detail));
            }
            if let Some(id) = &self.request_id {
                text += &format!("request id: {}\n", printable(id));
            }
            if let Some(hint) = &self.hint {
                text += &format!("{bold}hint:{bold:#} {}\n", printable(hint));
            }
            // Where standard error is gone, nobody can be told.
            let _ = io::stderr().write_all(text.as_bytes());
        }
        self.exit
    }
}

/// With which code a process ends that failed so.
pub fn exit_of(error: &switchy::Error) -> Exit {
    let status = error.status().map_or(0, |status| status.as_u16());
    match (error.code(), status) {
        (ErrorCode::Auth, _) => Exit::Authentication,
        (ErrorCode::Forbidden, _) => Exit::Forbidden,
        (ErrorCode::NotFound, _) => Exit::NotFound,
        (ErrorCode::Conflict, _) => Exit::Conflict,
        (ErrorCode::Validation, _) => Exit::Invalid,
        (ErrorCode::RateLimit, _) => Exit::RateLimited,
        (ErrorCode::Timeout | ErrorCode::Transport, _) => Exit::Unavailable,
        (_, 401) => Exit::Authentication,
        (_, 403) => Exit::Forbidden,
        (_, 404) => Exit::NotFound,
        (_, 409) => Exit::Conflict,
        (_, 400 | 413 | 415) => Exit::Invalid,
        (_, 429) => Exit::RateLimited,
        (_, 502..=504) => Exit::Unavailable,
        _ => Exit::Unexpected,
    }
}

impl From<switchy::Error> for Failure {
    fn from(error: switchy::Error) -> Self {
        let exit = exit_of(&error);
        let wait = error.retry_after().map(|wait| wait.as_secs());
        let hint = match exit {
            Exit::Authentication => Some("`switchy login` saves a valid API key".into()),
            Exit::Forbidden => {
                Some("`switchy whoami` shows your role, your Spaces and the key's scopes".into())
            }
            Exit::RateLimited => Some(format!("try again in {} s", wait.unwrap_or(60))),
            Exit::Unavailable => Some(match wait {
                Some(seconds) => format!("try again in {seconds} s"),
                None => "is the server running, and is the URL right? `switchy profile list` \
                         shows it"
                    .into(),
            }),
            Exit::Unexpected if error.code() == &ErrorCode::MalformedResponse => {
                Some("the URL is that of the API: http://127.0.0.1:3000/api, for example".into())
            }
            _ => None,
        };
        Self {
            exit,
            message: Some(error.to_string()),
            details: error.field_errors().iter().map(ToString::to_string).collect(),
            request_id: error.request_id().map(str::to_string),
            hint,
        }
    }
}

impl From<switchy::BuildError> for Failure {
    fn from(error: switchy::BuildError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Standard output is gone. Whoever closed it has read enough, and wants to hear nothing of it.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::told(Exit::Done),
            _ => Self::new(Exit::Unexpected, format!("cannot write the output: {error}")),
        }
    }
}

impl From<inquire::InquireError> for Failure {
    fn from(error: inquire::InquireError) -> Self {
        Self::usage(format!("nothing was entered: {error}"))
    }
}
