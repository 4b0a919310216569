//! What can be typed.

mod org;

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use switchy::types;

pub use org::{Invite, Member};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  unexpected failure
  2  wrong usage
  3  authentication: no key, or not a valid one
  4  forbidden
  5  not found
  6  conflict
  7  invalid: the server does not accept what was sent
  8  rate limited
  9  server unavailable or out of reach

Environment:
  SWITCHY_URL         the server, as --url
  SWITCHY_API_KEY     the API key; goes before the profile's
  SWITCHY_PROFILE     the profile, as --profile
  SWITCHY_CONFIG_DIR  where config.toml is kept
  NO_COLOR            no colours, when set to anything";

/// The command line of the Switchy workspace server.
#[derive(Debug, Parser)]
#[command(name = "switchy", version, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct Global {
    /// The server: http://127.0.0.1:3000; /api is added to a URL without a path
    #[arg(long, global = true, env = "SWITCHY_URL", value_name = "URL", hide_env = true)]
    pub url: Option<String>,
    /// The saved profile to use instead of the current one
    #[arg(long, global = true, env = "SWITCHY_PROFILE", value_name = "NAME", hide_env = true)]
    pub profile: Option<String>,
    /// How to print what the server answers
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// How to print what the server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// The data as the server sent it, for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Save a server and an API key as a profile, after trying them
    Login(Login),
    /// Forget the API key of the profile
    Logout,
    /// Show the user, organization, role and Spaces of the API key
    Whoami,
    /// Choose between saved servers and keys
    #[command(subcommand)]
    Profile(Profile),
    /// Shared Spaces
    #[command(subcommand)]
    Space(Space),
    /// Conversation sessions of a Space
    #[command(subcommand)]
    Session(Session),
    /// What is said in a session
    #[command(subcommand)]
    Message(Message),
    /// Notes, found again by their meaning
    #[command(subcommand)]
    Memory(Memory),
    /// MCP: integrations of the organization, and Switchy in your own MCP client
    #[command(subcommand)]
    Mcp(McpCommand),
    /// The people of the organization
    #[command(subcommand)]
    Member(Member),
    /// Invitations into the organization
    #[command(subcommand)]
    Invite(Invite),
    /// API keys: your own, and as OWNER or ADMIN everybody's
    #[command(subcommand)]
    Key(Key),
    /// Which keys of others may reach your PRIVATE notes and private sessions
    #[command(subcommand)]
    Delegation(Delegation),
    /// Plan and credits of the organization
    #[command(subcommand)]
    Billing(Billing),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Args, Debug)]
pub struct Login {
    /// Read the API key from standard input instead of asking for it
    #[arg(long)]
    pub key_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub enum Profile {
    /// List the saved profiles
    List,
    /// Make a profile the current one
    Use {
        /// The profile's name
        name: String,
    },
    /// Print a profile's API key, for scripts and other programs
    Key {
        /// The profile's name; the current one otherwise
        name: Option<String>,
    },
    /// Remove a profile and its key
    Remove {
        /// The profile's name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Space {
    /// List the Spaces that you are in
    List {
        /// The number of the page, from 1
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        page: Option<u32>,
        /// Spaces on a page
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: Option<u32>,
        /// Every page
        #[arg(long, conflicts_with_all = ["page", "limit"])]
        all: bool,
    },
    /// Show one Space
    View {
        /// Its slug or id
        space: String,
    },
    /// Make a Space; you become its OWNER
    Create {
        /// Its name; the slug is made from it
        name: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// A word to find it by; may be repeated
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
    },
    /// Change a Space
    Update(SpaceUpdate),
    /// Archive Spaces: nobody sees them any more, nor their sessions and notes
    Archive {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Their slugs or ids
        #[arg(required = true, value_name = "SPACE")]
        spaces: Vec<String>,
    },
    /// Who is in a Space
    #[command(subcommand)]
    Member(SpaceMember),
}

/// What to change of a Space.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
pub struct SpaceUpdate {
    /// Its slug or id
    pub space: String,
    /// The new name; the slug stays
    #[arg(long, group = "change")]
    pub name: Option<String>,
    /// What it is for; an empty text clears it
    #[arg(long, group = "change")]
    pub description: Option<String>,
    /// A word to find it by, in place of those that it has; may be repeated
    #[arg(long = "tag", value_name = "TAG", group = "change")]
    pub tags: Vec<String>,
    /// No words to find it by any more
    #[arg(long, group = "change", conflicts_with = "tags")]
    pub no_tags: bool,
    /// The model that new sessions use; an empty text clears it
    #[arg(long, group = "change")]
    pub model: Option<String>,
}

/// What somebody may do in a Space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpaceRole {
    /// Everything, members included
    Owner,
    /// Change the Space, and what others made in it
    Editor,
    /// Write
    Member,
    /// Read
    Viewer,
}

impl From<SpaceRole> for types::SpaceRole {
    fn from(role: SpaceRole) -> Self {
        match role {
            SpaceRole::Owner => Self::Owner,
            SpaceRole::Editor => Self::Editor,
            SpaceRole::Member => Self::Member,
            SpaceRole::Viewer => Self::Viewer,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum SpaceMember {
    /// List who is in a Space
    List {
        /// Its slug or id
        space: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Put a member of the organization into a Space
    Add {
        /// Its slug or id
        space: String,
        /// The user's id
        user: String,
        /// What he may do there
        #[arg(long, value_enum, ignore_case = true, default_value = "member")]
        role: SpaceRole,
    },
    /// Change what somebody may do in a Space
    Role {
        /// Its slug or id
        space: String,
        /// The user's id or e-mail address
        user: String,
        /// What he may do there from now on
        #[arg(value_enum, ignore_case = true)]
        role: SpaceRole,
    },
    /// Take somebody out of a Space
    Remove {
        /// Its slug or id
        space: String,
        /// The user's id or e-mail address; `me` to leave
        user: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// List your keys; as OWNER or ADMIN those of the organization
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Mint a key, which acts as you; it is shown this once
    Create {
        /// What it is for
        name: String,
        /// What it may be used for, no more than your own key; `*` for the whole API; may be repeated
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// In how many days it ceases to work; never otherwise
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
        expires_in: Option<u16>,
    },
    /// Give a key of yours a new secret, which is shown this once; the old one stops at once
    Rotate {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// The key's id
        id: String,
    },
    /// Revoke keys at once and for good
    Revoke {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// The keys' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Delegation {
    /// List the keys that you have allowed it
    List,
    /// Let a key reach them when it acts for you
    Allow {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// The key's id; its user knows it
        key: String,
    },
    /// Let a key do so no longer, from its next request on
    End {
        /// The key's id
        key: String,
    },
}

/// Which part of a list to show.
#[derive(Args, Debug)]
pub struct Paging {
    /// At most so many; all of them otherwise
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: Option<u32>,
    /// Only what comes after the one with this id
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
}

/// The Space that sessions belong to.
#[derive(Args, Debug)]
pub struct InSpace {
    /// The Space: its slug or id
    #[arg(long, value_name = "SLUG")]
    pub space: String,
}

#[derive(Debug, Subcommand)]
pub enum Session {
    /// List the live sessions of a Space
    List {
        #[command(flatten)]
        place: InSpace,
        /// Sessions of evaluation runs too
        #[arg(long)]
        evals: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one session; archived ones too
    View {
        #[command(flatten)]
        place: InSpace,
        /// The session's id
        id: String,
    },
    /// Make a session
    Create {
        #[command(flatten)]
        place: InSpace,
        /// Its title
        name: String,
        /// What it is about
        #[arg(long)]
        description: Option<String>,
        /// The slug of the agent or model that answers by default
        #[arg(long, value_name = "SLUG")]
        agent: Option<String>,
        /// The id of a user who takes part; may be repeated
        #[arg(long = "participant", value_name = "USER_ID")]
        participants: Vec<String>,
    },
    /// Change a session's title or model
    #[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
    Update {
        #[command(flatten)]
        place: InSpace,
        /// The session's id
        id: String,
        /// The new title
        #[arg(long, group = "change")]
        title: Option<String>,
        /// The new default model
        #[arg(long, group = "change")]
        model: Option<String>,
    },
    /// Save a session as an agent does: make it, or change what you saved under its id before
    Save(SaveSession),
    /// Share private sessions of yours with the Space, for good
    Share {
        #[command(flatten)]
        place: InSpace,
        /// The sessions' UUIDs, or how they begin
        #[arg(required = true, value_name = "UUID")]
        ids: Vec<String>,
    },
    /// Bring archived sessions back
    Unarchive {
        #[command(flatten)]
        place: InSpace,
        /// The sessions' UUIDs, or how they begin
        #[arg(required = true, value_name = "UUID")]
        ids: Vec<String>,
    },
    /// Count sessions by agent, model, user and label
    Facets {
        #[command(flatten)]
        place: InSpace,
        #[command(flatten)]
        filters: FacetFilters,
    },
    /// What was said in a session, as agents bring it along
    #[command(subcommand)]
    Transcript(Transcript),
    /// Archive sessions: they stay readable, but are listed no more
    Archive {
        #[command(flatten)]
        place: InSpace,
        /// The sessions' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// The session that messages belong to.
#[derive(Args, Debug)]
pub struct InSession {
    /// The Space: its slug or id
    #[arg(long, value_name = "SLUG")]
    pub space: String,
    /// The session's id
    #[arg(long, value_name = "ID")]
    pub session: String,
}

#[derive(Debug, Subcommand)]
pub enum Message {
    /// Post a message
    Send(MessageSend),
    /// List what was said, newest first
    List(MessageList),
    /// Find what was said in a Space, best first
    Search(MessageSearch),
    /// Print messages as they come, until Ctrl-C; with --output json every event, one a line
    Watch {
        #[command(flatten)]
        place: InSession,
        /// Begin with so many of the newest messages
        #[arg(long, value_name = "N", default_value_t = 0,
            value_parser = clap::value_parser!(u32).range(0..=100))]
        last: u32,
    },
    /// React to a message
    React {
        #[command(flatten)]
        place: InSpace,
        /// The message's id
        id: String,
        /// One of 👍 👎 😄 🎉 😕 ❤️ 🚀 👀
        emoji: String,
    },
    /// Take a reaction back
    Unreact {
        #[command(flatten)]
        place: InSpace,
        /// The message's id
        id: String,
        /// The emoji
        emoji: String,
    },
}

#[derive(Args, Debug)]
pub struct MessageSend {
    #[command(flatten)]
    pub place: InSession,
    /// What it says; - reads it from standard input
    pub text: String,
    /// The id of the message that it replies to
    #[arg(long, value_name = "ID")]
    pub parent: Option<String>,
    /// Post as this agent; the key needs the scope messages:agent
    #[arg(long, value_name = "SLUG")]
    pub agent: Option<String>,
    /// The model that the agent used
    #[arg(long, requires = "agent")]
    pub model: Option<String>,
}

#[derive(Args, Debug)]
pub struct MessageSearch {
    #[command(flatten)]
    pub place: InSpace,
    /// A question, or words
    pub query: String,
    /// Only what was said in the session with this id
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Only messages of the user with this id
    #[arg(long, value_name = "USER_ID")]
    pub author: Option<String>,
    /// Only messages of this agent
    #[arg(long, value_name = "SLUG")]
    pub agent: Option<String>,
    /// Only what was said then or later: 2026-04-19 or 2026-04-19T12:34:56Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub after: Option<DateTime<Utc>>,
    /// Only what was said earlier
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub before: Option<DateTime<Utc>>,
    /// Leave out what fits worse than this, 0 to 1
    #[arg(long, value_name = "SCORE", value_parser = share)]
    pub min_score: Option<f64>,
    /// Show so many messages before and after each that was found
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=5))]
    pub context: Option<u32>,
    /// At most so many results
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: Option<u32>,
}

#[derive(Args, Debug)]
pub struct MessageList {
    #[command(flatten)]
    pub place: InSession,
    /// At most so many
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: Option<u32>,
    /// Every message, page after page
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Only messages older than the one with this id
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
}

#[derive(Args, Debug)]
pub struct SaveSession {
    #[command(flatten)]
    pub place: InSpace,
    /// The session's UUID; a new one otherwise
    #[arg(long, value_name = "UUID")]
    pub id: Option<String>,
    /// The model that was used
    #[arg(long, required_unless_present = "from")]
    pub model: Option<String>,
    /// The agent that was used
    #[arg(long)]
    pub agent: Option<String>,
    /// The session's title
    #[arg(long)]
    pub title: Option<String>,
    /// How many messages it has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32))]
    pub message_count: Option<u32>,
    /// What kind of work it comes from: user, eval or worker; of a new session
    #[arg(long)]
    pub origin: Option<String>,
    /// Let the members of the Space see it at once; of a new session
    #[arg(long)]
    pub shared: bool,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "KEY:VALUE")]
    pub labels: Vec<String>,
    /// A file with the session as a JSON object, - for standard input; options go before it
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// Which sessions are counted. What is repeated is met by any of its values.
#[derive(Args, Debug)]
pub struct FacetFilters {
    /// Only those of a user: an id, an e-mail address, or what is before its @; may be repeated
    #[arg(long = "user", value_name = "USER")]
    pub users: Vec<String>,
    /// Only those of an agent; may be repeated
    #[arg(long = "agent", value_name = "AGENT")]
    pub agents: Vec<String>,
    /// Only those of a model; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<String>,
    /// Only those with a label; may be repeated, and every key must be met
    #[arg(long = "label", value_name = "KEY:VALUE")]
    pub labels: Vec<String>,
    /// Only those in which all of these words occur
    #[arg(long, value_name = "WORDS")]
    pub search: Option<String>,
    /// Evaluation runs too
    #[arg(long)]
    pub evals: bool,
}

#[derive(Debug, Subcommand)]
pub enum Transcript {
    /// Append the messages of a file, one JSON object a line; safe to run again
    #[command(after_help = TURNS_HELP)]
    Append {
        #[command(flatten)]
        place: InSpace,
        /// The session's UUID, or how it begins
        id: String,
        /// The file; - for standard input
        file: PathBuf,
    },
    /// Show what was said, oldest first
    Show {
        #[command(flatten)]
        place: InSpace,
        /// The session's UUID, or how it begins
        id: String,
        /// The number of the page, from 1
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        page: Option<u32>,
        /// Messages on a page
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: Option<u32>,
        /// Every page
        #[arg(long, conflicts_with_all = ["page", "limit"])]
        all: bool,
    },
}

const TURNS_HELP: &str = "\
Each line is an object like
  {\"role\": \"user\", \"content\": \"What breaks with Postgres 18?\"}
with \"id\" (a UUID), \"parent_id\", \"tool_calls\", \"tool_call_id\", \"metadata\" and, of an assistant,
\"usage\" {\"input_tokens\", \"output_tokens\", \"cache_read_input_tokens\",
\"cache_creation_input_tokens\", \"cost_usd\"} besides.

Messages that the session has already are left out: by their id, or, without one, by what they say.
When the rate limit is reached, the command waits as long as the server asks, and goes on.";

/// Who sees a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Visibility {
    /// You alone
    Private,
    /// The members of the Space
    Space,
    /// Everybody in the organization
    Org,
}

impl From<Visibility> for types::Visibility {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Private => Self::Private,
            Visibility::Space => Self::Space,
            Visibility::Org => Self::Org,
        }
    }
}

/// Who sees a new note.
#[derive(Args, Clone, Debug)]
pub struct Audience {
    /// Who sees it: space with --space, private otherwise
    #[arg(long, value_enum, ignore_case = true)]
    pub visibility: Option<Visibility>,
    /// The Space that it belongs to: its slug or id
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,
}

#[derive(Args, Debug)]
pub struct MemorySearch {
    /// A question, or words
    pub query: String,
    /// Only notes of this Space: its slug or id
    #[arg(long)]
    pub space: Option<String>,
    /// Only notes that these people see
    #[arg(long, value_enum, ignore_case = true)]
    pub visibility: Option<Visibility>,
    /// Only notes by the user with this id
    #[arg(long, value_name = "USER_ID")]
    pub author: Option<String>,
    /// Only notes with this tag; may be given several times, and then all are meant
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only notes written then or later: 2026-04-19 or 2026-04-19T12:34:56Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub after: Option<DateTime<Utc>>,
    /// Only notes written earlier
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub before: Option<DateTime<Utc>>,
    /// Leave out what fits worse than this, 0 to 1
    #[arg(long, value_name = "SCORE", value_parser = share)]
    pub min_score: Option<f64>,
    /// At most so many results
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: Option<u32>,
}

/// A day, which begins at midnight UTC, or a moment.
fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
    parsed.map_err(|_| "expected a day (2026-04-19) or a time (2026-04-19T12:34:56Z)".to_string())
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("expected a number from 0 to 1".to_string()),
    }
}

#[derive(Debug, Subcommand)]
pub enum Memory {
    /// List the notes that you can see, newest first
    List(MemoryList),
    /// Write a note
    #[command(visible_alias = "create")]
    Add(MemoryAdd),
    /// Show one note
    View {
        /// The note's id
        id: String,
    },
    /// Change a note of yours
    Update(MemoryUpdate),
    /// Delete notes for good
    Delete {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// The notes' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Find notes by their meaning
    Search(MemorySearch),
    /// Write the notes of a file, one JSON object a line; safe to run again
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// The file; - for standard input
        file: PathBuf,
        #[command(flatten)]
        audience: Audience,
    },
}

const IMPORT_HELP: &str = "\
Each line is an object like
  {\"content\": \"Deploys are on Tuesdays.\", \"visibility\": \"ORG\", \"tags\": [\"deploys\"]}
with \"spaceId\" (an id or a slug) and \"sourceUrl\" besides; all but \"content\" may be missing.
--visibility and --space say what holds for the lines that do not.

Notes of yours with the same content, visibility and Space are not written again, and a note that
was written in the last 24 hours is not doubled even if the connection broke before the answer came.
When the rate limit is reached, the import waits as long as the server asks, and goes on. Ten lines
and more are written up to 100 at a time, which counts as one write.";

#[derive(Args, Debug)]
pub struct MemoryList {
    /// At most so many
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: Option<u32>,
    /// Every note, page after page
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Only notes of this visibility
    #[arg(long, value_enum, ignore_case = true)]
    pub visibility: Option<Visibility>,
    /// Only notes of this Space: its slug or id
    #[arg(long)]
    pub space: Option<String>,
    /// Only notes with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// Only notes older than the one with this id
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
}

/// What to change of a note.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
pub struct MemoryUpdate {
    /// The note's id
    pub id: String,
    /// What it says now; - reads it from standard input
    #[arg(long, group = "change")]
    pub content: Option<String>,
    /// A word to find it by, in place of those that it has; may be repeated
    #[arg(long = "tag", value_name = "TAG", group = "change")]
    pub tags: Vec<String>,
    /// No words to find it by any more
    #[arg(long, group = "change", conflicts_with = "tags")]
    pub no_tags: bool,
    /// Where it comes from; an empty text clears it
    #[arg(long, value_name = "URL", group = "change")]
    pub source_url: Option<String>,
    /// Who sees it from now on
    #[arg(long, value_enum, ignore_case = true, group = "change")]
    pub visibility: Option<Visibility>,
    /// The Space that it belongs to from now on: its slug or id
    #[arg(long, group = "change")]
    pub space: Option<String>,
}

#[derive(Args, Debug)]
pub struct MemoryAdd {
    /// What it says; - reads it from standard input
    pub content: String,
    #[command(flatten)]
    pub audience: Audience,
    /// A word to find it by; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Where it comes from
    #[arg(long, value_name = "URL")]
    pub source_url: Option<String>,
}

/// How an integration is shown that it may be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum McpAuth {
    /// Not at all
    #[default]
    None,
    /// By a bearer token
    Bearer,
    /// By a header of its own: HeaderName:value
    ApiKey,
}

/// A program that speaks MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum McpClient {
    /// Claude Code: .mcp.json in a project
    Claude,
    /// Claude Desktop: claude_desktop_config.json; runs `switchy mcp stdio`
    ClaudeDesktop,
    /// Cursor: ~/.cursor/mcp.json, or .cursor/mcp.json in a project
    Cursor,
    /// Visual Studio Code: .vscode/mcp.json in a project
    Vscode,
}

/// For whom an MCP client calls.
#[derive(Args, Clone, Debug)]
pub struct OnBehalf {
    /// The user id of the member for whom calls are made, or `me`: opens PRIVATE notes and posting;
    /// the key needs the scope act_on_behalf
    #[arg(long, value_name = "USER_ID")]
    pub actor: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum McpCommand {
    /// Print what to paste into an MCP client's configuration
    Config {
        /// Which client
        #[arg(long, value_enum)]
        client: McpClient,
        /// Write the API key into it, instead of where the client is to take it from
        #[arg(long)]
        with_key: bool,
        #[command(flatten)]
        on_behalf: OnBehalf,
    },
    /// Connect an MCP client that speaks over standard input and output with the server
    Stdio {
        #[command(flatten)]
        on_behalf: OnBehalf,
    },
    #[command(flatten)]
    Integrations(Mcp),
}

#[derive(Debug, Subcommand)]
pub enum Mcp {
    /// List the organization's integrations
    List {
        /// Tell which of them this Space uses: its slug or id
        #[arg(long)]
        space: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Register an MCP server; asks for the secret, if it needs one
    Add {
        /// Its name
        name: String,
        /// Its endpoint: an HTTPS URL on the Internet
        endpoint: String,
        /// How messages mention it, without the @
        #[arg(long, value_name = "SLUG")]
        mention: String,
        /// How it is shown that it may be called
        #[arg(long, value_enum, default_value_t)]
        auth: McpAuth,
        /// Read the secret from standard input instead of asking for it
        #[arg(long)]
        secret_stdin: bool,
    },
    /// Remove integrations, with their secrets
    Remove {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Their mentions or ids
        #[arg(required = true, value_name = "SERVER")]
        servers: Vec<String>,
    },
    /// Call an integration, and tell whether it works
    Test {
        /// Its mention or id
        server: String,
    },
    /// Let a Space use an integration
    Bind {
        #[command(flatten)]
        place: InSpace,
        /// Its mention or id
        server: String,
    },
    /// Let a Space use an integration no longer
    Unbind {
        #[command(flatten)]
        place: InSpace,
        /// Its mention or id
        server: String,
    },
}

/// A plan that can be bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plan {
    /// For one person
    Pro,
    /// For a team: a pool of credits that grows with its members
    Team,
    /// For a large team
    Enterprise,
}

impl From<Plan> for types::PaidPlan {
    fn from(plan: Plan) -> Self {
        match plan {
            Plan::Pro => Self::Pro,
            Plan::Team => Self::Team,
            Plan::Enterprise => Self::Enterprise,
        }
    }
}

/// A usual number of credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pack {
    /// 1,000 credits
    Small,
    /// 5,000 credits
    Medium,
    /// 20,000 credits
    Large,
}

impl From<Pack> for types::CreditPack {
    fn from(pack: Pack) -> Self {
        match pack {
            Pack::Small => Self::Small,
            Pack::Medium => Self::Medium,
            Pack::Large => Self::Large,
        }
    }
}

/// How many credits to buy.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct TopUpAmount {
    /// A usual number
    #[arg(value_enum)]
    pub pack: Option<Pack>,
    /// How many, from 100 to 1000000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub credits: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum Billing {
    /// Show the plan, and what there is to spend
    Credits,
    /// Print the page on which a plan is bought, or the change to it confirmed
    Checkout {
        /// The plan
        #[arg(value_enum, ignore_case = true)]
        plan: Plan,
        /// Pay for a year at once, which costs less, instead of every month
        #[arg(long)]
        annual: bool,
        /// Where the browser goes when it is paid
        #[arg(long, value_name = "URL")]
        success_url: Option<String>,
        /// Where the browser goes when it is not
        #[arg(long, value_name = "URL")]
        cancel_url: Option<String>,
    },
    /// Print the page on which credits are bought that do not expire
    Topup {
        #[command(flatten)]
        amount: TopUpAmount,
        /// Where the browser goes when it is paid
        #[arg(long, value_name = "URL")]
        success_url: Option<String>,
        /// Where the browser goes when it is not
        #[arg(long, value_name = "URL")]
        cancel_url: Option<String>,
    },
    /// Print the page with invoices, cards and the plan
    Portal {
        /// Where the page's link back leads
        #[arg(long, value_name = "URL")]
        return_url: Option<String>,
    },
}
