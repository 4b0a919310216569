//! The REST API: one file per resource, with its types and its handlers. It contains no SQL.
//!
//! Every handler has three steps: it takes the request apart, one of three verbs
//! ([`Reading::read`], [`Call::write`], [`Call::create`]) runs the store's function in a transaction
//! of the caller, and the answer goes into the envelope.

mod billing;
mod call;
mod delegations;
mod events;
mod invitations;
mod keys;
mod mcp_server;
mod mcp_servers;
mod me;
mod members;
pub(crate) mod memory;
pub(crate) mod mentions;
mod message_search;
pub(crate) mod messages;
mod pages;
mod reactions;
mod reading;
mod saved_sessions;
mod sessions;
mod space_members;
pub(crate) mod spaces;
mod system;

pub use crate::public_url::PublicUrl;
pub use call::{Call, Ctx, Kept};
pub use memory::MAX_CONTENT;
pub use reading::Reading;

use crate::auth::KeySecret;
use crate::billing::Billing;
use crate::events::Hub;
use crate::http::openapi::{self, About};
use crate::limits::{KeyCache, Limits, Seats};
use crate::mail::{MailSender, Mailer};
use crate::mcp::client::Upstreams;
use crate::mcp::server::Quotas;
use crate::search::Search;
use crate::security_contact::SecurityContact;
use crate::store::Store;
use crate::store::vault::Vault;
use dropshot::{
    ApiDescription, ApiDescriptionRegisterError, EndpointTagPolicy, TagConfig, TagDetails,
};
use serde_json::Value;
use std::sync::Arc;

/// Every route is served below this; the OpenAPI document names it in `servers`.
pub const PREFIX: &str = "/api";
/// Largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What handlers work with.
#[derive(Clone)]
pub struct App {
    /// PostgreSQL.
    pub store: Store,
    /// Embedder and ranking.
    pub search: Search,
    /// Under which keys are digested.
    pub key_secret: Arc<KeySecret>,
    /// Whose keys were used lately.
    pub key_cache: Arc<KeyCache>,
    /// Requests a minute.
    pub limits: Limits,
    /// How many requests are worked on at once.
    pub seats: Arc<Seats>,
    /// Calls of the MCP server a minute.
    pub mcp_quotas: Quotas,
    /// Clients of the Save Session dialect that say they are older are told to upgrade.
    pub min_client_version: Option<semver::Version>,
    /// Where people reach this server, without a slash at the end: `https://switchy.example`.
    pub public_url: PublicUrl,
    /// Whom to tell of a hole.
    pub security_contact: Option<SecurityContact>,
    /// The mail server; `None`: nothing is mailed.
    pub mailer: Option<Mailer>,
    /// Sends what is to be mailed.
    pub mail_sender: MailSender,
    /// Who follows which session on this server.
    pub events: Arc<Hub>,
    /// Where the log goes.
    pub log: slog::Logger,
    /// Plans, credits and Stripe.
    pub billing: Arc<Billing>,
    /// The secrets of integrations.
    pub vault: Vault,
    /// How integrations are called.
    pub upstreams: Upstreams,
}

const TAGS: [(&str, &str); 10] = [
    ("Spaces", "Shared workspaces: you see those that you are a member of."),
    ("Sessions", "Conversations in a Space."),
    (
        "Saved sessions",
        "The same sessions for coding agents and workers, in a dialect of its own: \
        bare snake_case objects, and one error envelope for every failure below `/v1/org/`.",
    ),
    ("Memory", "Notes of a person, a Space or the organization, and semantic search over them."),
    ("Messages", "What is said in a session: threads, reactions, live events."),
    ("Organization", "Members of the organization, their roles, and invitations."),
    ("Keys", "API keys of the organization, and which of others' may act for you."),
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
    literals.register(saved_sessions::saved_session_facets)?;
    literals.register(memory::batch::memory_batch)?;
    literals.register(message_search::message_search)?;

    let mut api = description();
    api.register(spaces::space_list)?;
    api.register(spaces::space_create)?;
    api.register(spaces::space_view)?;
    api.register(spaces::space_update)?;
    api.register(spaces::space_archive)?;
    api.register(space_members::space_member_list)?;
    api.register(space_members::space_member_add)?;
    api.register(space_members::space_member_update)?;
    api.register(space_members::space_member_remove)?;
    api.register(sessions::session_list)?;
    api.register(sessions::session_create)?;
    api.register(sessions::session_view)?;
    api.register(sessions::session_update)?;
    api.register(sessions::session_archive)?;
    api.register(saved_sessions::saved_session_save)?;
    api.register(saved_sessions::saved_session_list)?;
    api.register(saved_sessions::saved_session_view)?;
    api.register(saved_sessions::saved_session_update)?;
    api.register(saved_sessions::saved_session_archive)?;
    api.register(saved_sessions::saved_session_unarchive)?;
    api.register(saved_sessions::transcript::saved_session_transcript_append)?;
    api.register(saved_sessions::transcript::saved_session_transcript)?;
    api.register(messages::message_list)?;
    api.register(messages::message_send)?;
    api.register(reactions::reaction_add)?;
    api.register(reactions::reaction_remove)?;
    api.register(events::session_events)?;
    api.register(memory::memory_list)?;
    api.register(memory::memory_create)?;
    api.register(memory::memory_view)?;
    api.register(memory::update::memory_update)?;
    api.register(memory::memory_delete)?;
    api.register(members::member_list)?;
    api.register(members::member_update)?;
    api.register(members::member_remove)?;
    api.register(invitations::invitation_list)?;
    api.register(invitations::invitation_create)?;
    api.register(invitations::invitation_revoke)?;
    api.register(invitations::invitation_accept)?;
    api.register(keys::key_list)?;
    api.register(keys::key_create)?;
    api.register(keys::key_revoke)?;
    api.register(keys::key_rotate)?;
    api.register(delegations::delegation_list)?;
    api.register(delegations::delegation_allow)?;
    api.register(delegations::delegation_end)?;
    api.register(mcp_servers::mcp_server_list)?;
    api.register(mcp_servers::mcp_server_create)?;
    api.register(mcp_servers::mcp_server_delete)?;
    api.register(mcp_servers::mcp_server_test)?;
    api.register(mcp_servers::space_mcp_list)?;
    api.register(mcp_servers::space_mcp_bind)?;
    api.register(mcp_servers::space_mcp_unbind)?;
    api.register(me::me)?;
    api.register(billing::credit_balance)?;
    api.register(billing::billing_checkout)?;
    api.register(billing::billing_portal)?;
    api.register(billing::billing_topup)?;
    api.register(billing::stripe_webhook)?;
    api.register(system::health)?;
    api.register(system::ready)?;
    api.register(system::health_at_root)?;
    api.register(system::ready_at_root)?;
    api.register(system::openapi)?;
    api.register(system::security_txt)?;
    api.register(mcp_server::mcp_openapi)?;
    api.register(mcp_server::mcp_rpc)?;
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
        event_streams: &["session_events"],
        public: &["health", "ready", "openapi", "mcp_openapi", "stripe_webhook"],
        optional_bodies: &["billing_portal"],
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
