//! Every setting: flag, environment variable, default.
//!
//! A secret has two: in a file (`--…-file`, `…_FILE`), or as it is. The flag for the secret itself
//! is not shown in `--help`, since everybody on the machine can read the arguments of a process.

mod secret_file;

pub use secret_file::{MAX_SECRET, SecretFile};

use crate::billing::plans::{Pool, Pools, TOPUP_PRICE};
use crate::billing::{BillingOptions, SYNC_INTERVAL};
use crate::mcp::guard::AllowedHosts;
use crate::mcp::server::Quotas as McpQuotas;
use crate::search::cross_encoder::{DEADLINE_MS, LONGEST_DEADLINE_MS, SHORTEST_DEADLINE_MS};
use crate::security_contact::SecurityContact;
use crate::store::quotas::Quotas;
use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the data is, shared by every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Storage")]
pub struct StorageConfig {
    /// Folder of the embedded PostgreSQL and of what the server keeps [default: the platform's
    /// data folder; as root on Linux /var/lib/switchy]
    #[arg(long, env = "SWITCHY_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Folder of downloaded PostgreSQL, ONNX Runtime and models, shared between data folders
    /// [default: the platform's cache folder; as root on Linux /var/cache/switchy]
    #[arg(long, env = "SWITCHY_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// See `database_url_file`
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide = true)]
    database_url: Option<SecretString>,

    /// File with the URL of an existing PostgreSQL 15 or newer with pgvector 0.8.0 or newer,
    /// instead of the embedded one: postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full;
    /// or set DATABASE_URL to the URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE", conflicts_with = "database_url",
        value_parser = SecretFile::read)]
    database_url_file: Option<SecretFile>,

    /// See `secret_key_file`
    #[arg(long, env = "SWITCHY_SECRET_KEY", value_name = "TEXT", hide = true)]
    secret_key: Option<SecretString>,

    /// File with the secret, of at least 32 characters, under which API keys are digested and the
    /// secrets of integrations are encrypted; or set SWITCHY_SECRET_KEY to the secret [default:
    /// random ones, kept in the database and, with the embedded one, in a file]
    #[arg(long, env = "SWITCHY_SECRET_KEY_FILE", value_name = "FILE",
        conflicts_with = "secret_key", value_parser = SecretFile::read)]
    secret_key_file: Option<SecretFile>,
}

/// Fewest characters of the operator's secret: what fewer are made of can be guessed.
pub const MIN_SECRET_KEY: usize = 32;

/// The secret under which keys are digested can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "SWITCHY_SECRET_KEY has {0} characters, and needs at least {MIN_SECRET_KEY}: make one with \
     `openssl rand -base64 32 > FILE`, and start with SWITCHY_SECRET_KEY_FILE=FILE"
)]
pub struct ShortSecretKey(usize);

/// The secret as it was given, wherever it was given.
fn either(given: &Option<SecretString>, file: &Option<SecretFile>) -> Option<SecretString> {
    given.clone().or_else(|| file.as_ref().map(|file| file.secret.clone()))
}

impl StorageConfig {
    /// An existing PostgreSQL, instead of the embedded one.
    pub fn database_url(&self) -> Option<SecretString> {
        either(&self.database_url, &self.database_url_file)
    }

    /// The secret under which API keys are digested and the secrets of integrations are encrypted.
    pub fn secret_key(&self) -> Result<Option<SecretString>, ShortSecretKey> {
        let secret = either(&self.secret_key, &self.secret_key_file);
        match secret.as_ref().map(|secret| secret.expose_secret().chars().count()) {
            Some(length @ ..MIN_SECRET_KEY) => Err(ShortSecretKey(length)),
            _ => Ok(secret),
        }
    }
}

/// Where the embedding model is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Search")]
pub struct ModelConfig {
    /// Folder of an embedding model of 384 dimensions (model.onnx, tokenizer.json, config.json),
    /// instead of the downloaded one
    #[arg(long, visible_alias = "model", env = "SWITCHY_MODEL_DIR", value_name = "DIR")]
    pub model_dir: Option<PathBuf>,

    /// The ONNX Runtime library (1.24 or newer), instead of the downloaded one
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub ort_dylib_path: Option<PathBuf>,

    /// Threads that embed, each with a model of its own (about 100 MB) [default: the cores]
    #[arg(long, env = "SWITCHY_EMBED_THREADS", value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub embed_threads: Option<u16>,

    /// Run without a model: search finds words, not meaning
    #[arg(long, env = "SWITCHY_LEXICAL_ONLY", value_parser = clap::builder::BoolishValueParser::new(),
        num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    pub lexical_only: bool,
}

/// What puts the best notes of a search in order.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Search")]
pub struct CrossEncoderConfig {
    /// Folder of a cross-encoder (model.onnx, tokenizer.json, config.json), which puts the best
    /// notes of a search in order; needs a model, so nothing comes of it with --lexical-only
    /// [default: none]
    #[arg(long, env = "SWITCHY_CROSS_ENCODER_DIR", value_name = "DIR")]
    pub cross_encoder_dir: Option<PathBuf>,

    /// Milliseconds that a search waits for the cross-encoder, and at most half of the request's
    /// deadline; after that it is answered without
    #[arg(long, env = "SWITCHY_CROSS_ENCODER_DEADLINE_MS", value_name = "MS",
        default_value_t = DEADLINE_MS,
        value_parser = clap::value_parser!(u64).range(SHORTEST_DEADLINE_MS..=LONGEST_DEADLINE_MS))]
    pub cross_encoder_deadline_ms: u64,
}

/// The quotas of organizations.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Quotas")]
pub struct QuotaConfig {
    /// Spaces of one organization, archived ones as well; 0 means unlimited, here and below
    #[arg(long, env = "SWITCHY_MAX_SPACES", value_name = "N", default_value_t = 1_000)]
    pub max_spaces: u32,

    /// Spaces that one MEMBER makes, archived ones as well
    #[arg(long, env = "SWITCHY_MAX_MEMBER_SPACES", value_name = "N", default_value_t = 100)]
    pub max_member_spaces: u32,

    /// Sessions of one organization, archived ones as well
    #[arg(long, env = "SWITCHY_MAX_SESSIONS", value_name = "N", default_value_t = 1_000_000)]
    pub max_sessions: u32,

    /// Notes of one organization
    #[arg(long, env = "SWITCHY_MAX_NOTES", value_name = "N", default_value_t = 1_000_000)]
    pub max_notes: u32,

    /// Bytes of the notes and messages of one organization
    #[arg(long, env = "SWITCHY_MAX_BYTES", value_name = "N", default_value_t = 10_000_000_000)]
    pub max_bytes: u64,

    /// Notes of one author that wait to be embedded; what would add to them is answered 429
    #[arg(long, env = "SWITCHY_MAX_WAITING_NOTES", value_name = "N", default_value_t = 2_000)]
    pub max_waiting_notes: u32,
}

impl QuotaConfig {
    /// The same, as the store takes it.
    pub fn quotas(&self) -> Quotas {
        Quotas {
            spaces: self.max_spaces,
            member_spaces: self.max_member_spaces,
            sessions: self.max_sessions,
            notes: self.max_notes,
            bytes: self.max_bytes,
            waiting: self.max_waiting_notes,
        }
    }
}

/// Credits that plans bring each month.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Credits")]
pub struct CreditsConfig {
    /// Credits a month of a STARTER organization
    #[arg(long, env = "SWITCHY_STARTER_CREDITS", value_name = "N", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub starter_credits: u32,

    /// Credits a month of a PRO organization
    #[arg(long, env = "SWITCHY_PRO_CREDITS", value_name = "N", default_value_t = 3_000,
        value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub pro_credits: u32,

    /// Credits a month of a TEAM organization, whatever the number of its members
    #[arg(long, env = "SWITCHY_TEAM_CREDITS", value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub team_credits: u32,

    /// Credits a month for each member of a TEAM organization
    #[arg(long, env = "SWITCHY_TEAM_CREDITS_PER_SEAT", value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub team_credits_per_seat: u32,

    /// Credits a month of an ENTERPRISE organization, whatever the number of its members
    #[arg(long, env = "SWITCHY_ENTERPRISE_CREDITS", value_name = "N", default_value_t = 40_000,
        value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub enterprise_credits: u32,

    /// Credits a month for each member of an ENTERPRISE organization
    #[arg(long, env = "SWITCHY_ENTERPRISE_CREDITS_PER_SEAT", value_name = "N",
        default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub enterprise_credits_per_seat: u32,
}

impl CreditsConfig {
    /// The same, by plan.
    pub fn pools(&self) -> Pools {
        let pool = |base, per_seat| Pool { base, per_seat };
        Pools {
            starter: pool(self.starter_credits, 0),
            pro: pool(self.pro_credits, 0),
            team: pool(self.team_credits, self.team_credits_per_seat),
            enterprise: pool(self.enterprise_credits, self.enterprise_credits_per_seat),
        }
    }
}

/// How plans and credits are paid.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Billing")]
pub struct BillingConfig {
    /// See `stripe_secret_key_file`
    #[arg(long, env = "SWITCHY_STRIPE_SECRET_KEY", value_name = "KEY", hide = true)]
    stripe_secret_key: Option<SecretString>,

    /// File with Stripe's secret key (sk_live_…, sk_test_… or a restricted rk_…); or set
    /// SWITCHY_STRIPE_SECRET_KEY to the key [default: nothing is sold]
    #[arg(long, env = "SWITCHY_STRIPE_SECRET_KEY_FILE", value_name = "FILE",
        conflicts_with = "stripe_secret_key", value_parser = SecretFile::read)]
    stripe_secret_key_file: Option<SecretFile>,

    /// See `stripe_webhook_secret_file`
    #[arg(long, env = "SWITCHY_STRIPE_WEBHOOK_SECRET", value_name = "SECRET", hide = true)]
    stripe_webhook_secret: Option<SecretString>,

    /// File with the signing secret (whsec_…) of Stripe's webhook to /api/webhooks/stripe; or set
    /// SWITCHY_STRIPE_WEBHOOK_SECRET to the secret
    #[arg(long, env = "SWITCHY_STRIPE_WEBHOOK_SECRET_FILE", value_name = "FILE",
        conflicts_with = "stripe_webhook_secret", value_parser = SecretFile::read)]
    stripe_webhook_secret_file: Option<SecretFile>,

    /// Where Stripe's API is
    #[arg(long, env = "SWITCHY_STRIPE_API_URL", value_name = "URL",
        default_value = crate::billing::STRIPE_API)]
    pub stripe_api_url: url::Url,

    /// What 100 credits of a top-up cost, in US cents
    #[arg(long, env = "SWITCHY_TOPUP_PRICE", value_name = "CENTS", default_value_t = TOPUP_PRICE,
        value_parser = clap::value_parser!(u32).range(50..=10_000))]
    pub topup_price: u32,

    /// Credits that plans bring
    #[command(flatten)]
    pub credits: CreditsConfig,
}

impl BillingConfig {
    /// The same, as billing takes it.
    pub fn options(&self) -> BillingOptions {
        BillingOptions {
            pools: self.credits.pools(),
            topup_price: self.topup_price,
            stripe_secret_key: either(&self.stripe_secret_key, &self.stripe_secret_key_file),
            stripe_webhook_secret: either(
                &self.stripe_webhook_secret,
                &self.stripe_webhook_secret_file,
            ),
            stripe_api_url: self.stripe_api_url.clone(),
            sync_interval: SYNC_INTERVAL,
        }
    }
}

/// What goes to the log, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogConfig {
    /// Least severe level that is logged
    #[arg(long = "log", env = "SWITCHY_LOG", value_name = "LEVEL", default_value = "info")]
    pub level: LogLevel,

    /// For people or for programs (JSON lines)
    #[arg(long, env = "SWITCHY_LOG_FORMAT", value_name = "FORMAT", default_value = "terminal")]
    pub log_format: LogFormat,
}

/// Severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Defects.
    Error,
    /// What an operator should look at.
    Warn,
    /// One line a request.
    Info,
    /// Everything.
    Debug,
}

/// Shape of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text, coloured on a terminal.
    Terminal,
    /// One JSON object a line.
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(n @ 1..=3600) => Ok(Duration::from_secs(n)),
        _ => Err("expected whole seconds from 1 to 3600".into()),
    }
}

/// How mail is sent.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mail")]
pub struct MailConfig {
    /// See `smtp_url_file`
    #[arg(long, env = "SWITCHY_SMTP_URL", value_name = "URL", hide = true)]
    smtp_url: Option<SecretString>,

    /// File with the URL of the mail server that invitations are sent through:
    /// smtps://USER:PASSWORD@HOST, or smtp://USER:PASSWORD@HOST:587?tls=required for STARTTLS; or
    /// set SWITCHY_SMTP_URL to the URL [default: none, nothing is mailed]
    #[arg(long, env = "SWITCHY_SMTP_URL_FILE", value_name = "FILE", conflicts_with = "smtp_url",
        value_parser = SecretFile::read)]
    smtp_url_file: Option<SecretFile>,

    /// Who sends: an address, or `NAME <ADDRESS>` [default: Switchy, at `noreply` of the public
    /// URL's host, if that is a name and no address]
    #[arg(long, env = "SWITCHY_MAIL_FROM", value_name = "MAILBOX")]
    pub mail_from: Option<String>,
}

impl MailConfig {
    /// The mail server, if the operator has one.
    pub fn smtp_url(&self) -> Option<SecretString> {
        either(&self.smtp_url, &self.smtp_url_file)
    }
}

/// The flags whose value is a secret, by the names of their fields: each has another one beside it
/// that takes a file.
pub const SECRET_FLAGS: [&str; 5] =
    ["database_url", "secret_key", "smtp_url", "stripe_secret_key", "stripe_webhook_secret"];

/// Everything that `serve` can be told.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address and port to listen on
    #[arg(long, env = "SWITCHY_BIND", value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    pub bind: SocketAddr,

    /// Where people reach this server, if not at the address it listens on
    #[arg(long, env = "SWITCHY_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<url::Url>,

    /// Whom to tell of a hole, at /.well-known/security.txt: a URL (https:, mailto: or tel:) or an
    /// e-mail address [default: nobody, and there is no such page]
    #[arg(long, env = "SWITCHY_SECURITY_CONTACT", value_name = "CONTACT")]
    pub security_contact: Option<SecurityContact>,

    /// Certificate chain (PEM) for HTTPS; goes with --tls-key
    #[arg(long, env = "SWITCHY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key (PEM) for HTTPS; goes with --tls-cert
    #[arg(long, env = "SWITCHY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Reads of one key in any 60 seconds; 0 means unlimited
    #[arg(long, env = "SWITCHY_READS_PER_MINUTE", value_name = "N", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub reads_per_minute: u32,

    /// Writes of one key in any 60 seconds; 0 means unlimited
    #[arg(long, env = "SWITCHY_WRITES_PER_MINUTE", value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub writes_per_minute: u32,

    /// Requests without a valid key from one address in any 60 seconds; 0 means unlimited
    #[arg(long, env = "SWITCHY_FAILURES_PER_MINUTE", value_name = "N", default_value_t = 300,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub failures_per_minute: u32,

    /// Requests of one key that are worked on at once; the others wait their turn, 2 seconds at
    /// most; 0 means unlimited
    #[arg(long, env = "SWITCHY_KEY_CONCURRENCY", value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub key_concurrency: u32,

    /// The same for all keys of one organization together
    #[arg(long, env = "SWITCHY_ORG_CONCURRENCY", value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub org_concurrency: u32,

    /// Most connections of clients at once; one more is answered 503
    #[arg(long, env = "SWITCHY_MAX_CONNECTIONS", value_name = "N", default_value_t = 12_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// MCP calls of one key in any 60 seconds, by kind: what is not named keeps its default, 0 means
    /// unlimited [default: search=30,list=60,transcript=30,add_memory=20,post_message=10,other=120]
    #[arg(
        long,
        env = "SWITCHY_MCP_QUOTAS",
        value_name = "KIND=N,…",
        default_value = "",
        hide_default_value = true
    )]
    pub mcp_quotas: McpQuotas,
    /// Oldest client that may save sessions: those that send a lower X-Client-Version are answered
    /// 426 [default: every client]
    #[arg(long, env = "SWITCHY_MIN_CLIENT_VERSION", value_name = "VERSION")]
    pub min_client_version: Option<semver::Version>,

    /// Most connections to PostgreSQL
    #[arg(long, env = "SWITCHY_POOL_SIZE", value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub pool_size: u32,

    /// Seconds that a request may wait for a connection before it is answered 503
    #[arg(long, env = "SWITCHY_POOL_TIMEOUT", value_name = "SECONDS", default_value = "3",
        value_parser = seconds)]
    pub pool_timeout: Duration,

    /// Seconds that a request may take before it is answered 503
    #[arg(long, env = "SWITCHY_REQUEST_DEADLINE", value_name = "SECONDS", default_value = "30",
        value_parser = seconds)]
    pub request_deadline: Duration,

    /// Seconds that running requests get to end when the server stops
    #[arg(long, env = "SWITCHY_SHUTDOWN_DEADLINE", value_name = "SECONDS", default_value = "10",
        value_parser = seconds)]
    pub shutdown_deadline: Duration,

    /// Internal MCP servers that organizations may register, as HOST or HOST:PORT, separated by
    /// commas: they need neither HTTPS nor an address on the Internet
    #[arg(
        long,
        env = "SWITCHY_MCP_ALLOW_HOSTS",
        value_name = "HOSTS",
        default_value = "",
        hide_default_value = true
    )]
    pub mcp_allow_hosts: AllowedHosts,

    /// Data and cache folders, or an existing PostgreSQL
    #[command(flatten)]
    pub storage: StorageConfig,

    /// The embedding model
    #[command(flatten)]
    pub model: ModelConfig,

    /// The cross-encoder
    #[command(flatten)]
    pub cross_encoder: CrossEncoderConfig,

    /// Quotas of organizations
    #[command(flatten)]
    pub quotas: QuotaConfig,

    /// Mail
    #[command(flatten)]
    pub mail: MailConfig,

    /// Plans, credits and Stripe
    #[command(flatten)]
    pub billing: BillingConfig,

    /// The log
    #[command(flatten)]
    pub log: LogConfig,
}

impl Config {
    /// Files with secrets that everybody on this machine can read.
    pub fn open_files(&self) -> impl Iterator<Item = &Path> {
        [
            &self.storage.database_url_file,
            &self.storage.secret_key_file,
            &self.mail.smtp_url_file,
            &self.billing.stripe_secret_key_file,
            &self.billing.stripe_webhook_secret_file,
        ]
        .into_iter()
        .flatten()
        .filter(|file| file.open_to_all)
        .map(|file| file.path.as_path())
    }
}
