//! The API: one file a resource, its types and its handlers. Knows no SQL.
//!
//! Every handler has three steps: [`Call::begin`] says who calls and counts the request, one store
//! function does the work in the call's transaction, and the answer goes into the envelope.

mod call;
mod me;
mod memory;
mod sessions;
mod spaces;
mod system;

pub use call::{Call, Ctx};
pub use memory::MAX_CONTENT;

use crate::auth::KeySecret;
use crate::http::openapi::{self, About};
use crate::limits::Limits;
use crate::search::Search;
use crate::store::Store;
use dropshot::{
    ApiDescription, ApiDescriptionRegisterError, EndpointTagPolicy, TagConfig, TagDetails,
};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// Every route is served below this; the OpenAPI document names it in `servers`.
pub const PREFIX: &str = "/api";
/// Largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What handlers work with.
pub struct App {
    /// PostgreSQL.
    pub store: Store,
    /// Embedder and ranking.
    pub search: Search,
    /// Under which keys are digested.
    pub key_secret: KeySecret,
    /// Requests a minute.
    pub limits: Limits,
    /// Where people reach this server, without a slash at the end: `https://switchy.example`.
    pub public_url: PublicUrl,
}

/// Where people reach this server. Known at the latest when it listens.
#[derive(Clone, Debug, Default)]
pub struct PublicUrl(Arc<OnceLock<String>>);

impl PublicUrl {
    /// As the operator says.
    pub fn given(url: &url::Url) -> Self {
        let this = PublicUrl::default();
        this.or(url.as_str());
        this
    }

    /// Unless it is known already, it is this.
    pub fn or(&self, url: &str) {
        self.0.get_or_init(|| url.trim_end_matches('/').to_owned());
    }

    /// An absolute URL of this server; `path` begins with a slash.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0.get().map_or("", String::as_str))
    }
}

const TAGS: [(&str, &str); 9] = [
    ("Spaces", "Shared workspaces: you see those that you are a member of."),
    ("Sessions", "Conversations in a Space."),
    ("Memory", "Notes of a person, a Space or the organization, and semantic search over them."),
    ("Messages", "What is said in a session: threads, reactions, live events."),
    ("Organization", "Members of the organization, their roles, and invitations."),
    ("Keys", "API keys of the organization."),
    ("Billing", "Plan and credits of the organization."),
    ("Integrations", "MCP servers that the organization has registered, and where they are used."),
    ("System", "Who you are, and whether the server is well."),
];

fn description() -> ApiDescription<App> {
    let tags = TAGS
        .iter()
        .map(|(name, description)| {
            let details =
                TagDetails { description: Some((*description).into()), external_docs: None };
            ((*name).to_owned(), details)
        })
        .collect();
    ApiDescription::new().tag_config(TagConfig {
        allow_other_tags: false,
        policy: EndpointTagPolicy::ExactlyOne,
        tags,
    })
}

/// The API, as the gateway mounts it. Two descriptions, because Dropshot's router cannot hold
/// `/memory/search` beside `/memory/{memoryId}`: the literals come first.
pub fn descriptions() -> Result<[ApiDescription<App>; 2], ApiDescriptionRegisterError> {
    let mut literals = description();
    literals.register(memory::memory_search)?;

    let mut api = description();
    api.register(spaces::space_list)?;
    api.register(spaces::space_create)?;
    api.register(spaces::space_view)?;
    api.register(sessions::session_list)?;
    api.register(sessions::session_create)?;
    api.register(sessions::session_view)?;
    api.register(sessions::session_update)?;
    api.register(sessions::session_archive)?;
    api.register(memory::memory_list)?;
    api.register(memory::memory_create)?;
    api.register(memory::memory_delete)?;
    api.register(me::me)?;
    api.register(system::health)?;
    api.register(system::ready)?;
    api.register(system::health_at_root)?;
    api.register(system::ready_at_root)?;
    api.register(system::openapi)?;
    Ok([literals, api])
}

const DESCRIPTION: &str = "\
Shared Spaces, conversation sessions and a team memory with semantic search, in which nobody ever \
sees a note that is not theirs to see.

Every answer has one envelope: `success`, `data` or `error`, and `metadata` with the request id. \
Branch on `error.code`; the set is closed. Timestamps are ISO-8601 in UTC, ids are CUIDs. Unknown \
fields of a request are ignored, and an explicit `null` for an optional field means absent.

An API key belongs to one organization and acts as the user who minted it. Reads and writes have \
separate limits in a sliding window of 60 seconds; each answer tells what is left.";

fn about() -> About {
    About {
        title: "Switchy",
        description: DESCRIPTION,
        version: semver::Version::new(2, 0, 0),
        servers: &[("/api", "This server"), ("https://switchy.build/api", "The hosted service")],
        prefix: PREFIX,
        public: &["health", "ready", "openapi"],
    }
}

/// Something in the API's description that Dropshot does not accept.
#[derive(Debug, thiserror::Error)]
#[error("the API cannot be described: {0}")]
pub struct DescriptionError(String);

/// The OpenAPI 3.0 document, as Dropshot describes the API.
pub fn document_3_0() -> Result<Value, DescriptionError> {
    let about = about();
    let parts = descriptions()
        .map_err(|e| DescriptionError(e.to_string()))?
        .map(|api| api.openapi(about.title, about.version.clone()).json())
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| DescriptionError(e.to_string()))?;
    Ok(openapi::document_3_0(&parts, &about))
}

/// The OpenAPI 3.1 document, as the server serves it.
pub fn document_3_1() -> Result<Value, DescriptionError> {
    document_3_0().map(openapi::document_3_1)
}
