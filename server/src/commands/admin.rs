//! `admin`: what has to exist before anybody can call the API.

mod credits;
mod quota;

use super::{CommandError, Output, progress, say};
use crate::auth::{ALL_REST, KeySecret, OrgRole, Scope, Scopes};
use crate::bootstrap::{Access, Database, PoolConfig, key_secret};
use crate::clock::Clock;
use crate::config::StorageConfig;
use crate::error::{Error, Result};
use crate::mail::is_address;
use crate::store::accounts::{self, Org, User};
use crate::store::{Store, SystemTx};
use clap::{Args, Subcommand};
use serde::Serialize;

/// Longest name of an organization or a key, in characters.
pub const MAX_NAME: usize = 100;

/// `switchy-server admin …`
#[derive(Subcommand)]
pub(super) enum Admin {
    /// Make an organization, its OWNER and a key
    Bootstrap(Bootstrap),
    /// Users
    #[command(subcommand)]
    User(UserCommand),
    /// API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Organizations
    #[command(subcommand)]
    Org(OrgCommand),
    /// Credits of an organization
    #[command(subcommand)]
    Credits(credits::Credits),
}

#[derive(Subcommand)]
pub(super) enum OrgCommand {
    /// Show what an organization has of what it may have, and change what it may have
    Quota(quota::Quota),
}

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add a user to an organization, and make a key for him
    Add(UserAdd),
}

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key for a member of an organization
    Create(KeyCreate),
}

#[derive(Args)]
struct Common {
    /// For people or for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(flatten)]
    storage: StorageConfig,
}

/// Make an organization, its OWNER and a key.
#[derive(Args)]
pub(super) struct Bootstrap {
    /// The organization's name; its slug is made from it
    #[arg(long, value_name = "NAME")]
    org: String,
    /// The OWNER's e-mail address
    #[arg(long, value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    common: Common,
}

/// Add a user.
#[derive(Args)]
pub(super) struct UserAdd {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// The user's e-mail address
    #[arg(long, value_name = "EMAIL")]
    email: String,
    /// The user's role in the organization
    #[arg(long, value_name = "ROLE", ignore_case = true)]
    role: OrgRole,
    #[command(flatten)]
    common: Common,
}

/// Make a key.
#[derive(Args)]
pub(super) struct KeyCreate {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// The user as whom the key will act
    #[arg(long, value_name = "EMAIL")]
    email: String,
    /// What the key may be used for; may be given several times [default: * (all of REST)]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// A sentence about a key that is made here.
pub(crate) const NO_EXPIRY: &str = "It does not expire: rotate or revoke it when you must.";

/// What was made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Made {
    organization_id: String,
    pub(crate) organization_slug: String,
    user_id: String,
    pub(crate) email: String,
    role: OrgRole,
    pub(crate) api_key: String,
    /// When the key ceases to work; `None`: never, as all that are made here.
    expires_at: Option<String>,
}

impl Made {
    fn new(org: &Org, user: &User, role: OrgRole, api_key: &str) -> Self {
        Made {
            organization_id: org.id.to_string(),
            organization_slug: org.slug.clone(),
            user_id: user.id.to_string(),
            email: user.email.clone(),
            role,
            api_key: api_key.to_owned(),
            expires_at: None,
        }
    }

    fn print(&self, output: Output) -> std::result::Result<(), CommandError> {
        match output {
            Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(self)?)),
            Output::Text => say(&format!(
                "Organization  {} ({})\n\
                 User          {} ({}), {}\n\
                 API key       {}\n\
                 The key is shown this once; it is stored nowhere. {NO_EXPIRY}\n",
                self.organization_slug,
                self.organization_id,
                self.email,
                self.user_id,
                self.role,
                self.api_key,
            )),
        }
    }
}

/// Refuses what cannot be an e-mail address.
fn checked_email(email: &str) -> Result<&str> {
    let email = email.trim();
    if is_address(email) {
        Ok(email)
    } else {
        Err(Error::invalid(["email"], "invalid_email", "must be an e-mail address"))
    }
}

/// Makes an organization, its OWNER and a key for everything.
pub(crate) async fn bootstrap(
    store: &Store,
    secret: &KeySecret,
    name: &str,
    email: &str,
) -> Result<Made> {
    let name = name.trim();
    let slug = slug::slugify(name);
    if slug.is_empty() || name.chars().count() > MAX_NAME || name.contains('\0') {
        return Err(Error::invalid(
            ["org"],
            "invalid_name",
            format!("must be 1 to {MAX_NAME} characters with at least one letter or digit"),
        ));
    }
    let email = checked_email(email)?;
    let mut tx = store.begin_system().await?;
    let org = accounts::create_org(&mut tx, &slug, name).await?;
    let user = accounts::user_with_email(&mut tx, email).await?;
    accounts::add_member(&mut tx, &org.id, &user.id, OrgRole::Owner).await?;
    let made = mint(&mut tx, secret, &org, &user, OrgRole::Owner, &Scopes::all_rest()).await?;
    tx.commit().await?;
    Ok(made)
}

async fn mint(
    tx: &mut SystemTx,
    secret: &KeySecret,
    org: &Org,
    user: &User,
    role: OrgRole,
    scopes: &Scopes,
) -> Result<Made> {
    let key =
        accounts::mint_key(tx, secret, (&org.id, &user.id), "Made on the command line", scopes)
            .await?;
    Ok(Made::new(org, user, role, key.expose()))
}

async fn user_add(store: &Store, secret: &KeySecret, command: &UserAdd) -> Result<Made> {
    let email = checked_email(&command.email)?;
    let mut tx = store.begin_system().await?;
    let org = accounts::org_by_slug(&mut tx, &command.org).await?;
    let user = accounts::user_with_email(&mut tx, email).await?;
    accounts::add_member(&mut tx, &org.id, &user.id, command.role).await?;
    let made = mint(&mut tx, secret, &org, &user, command.role, &Scopes::all_rest()).await?;
    tx.commit().await?;
    Ok(made)
}

/// As the API parses them, with words for somebody at a command line.
fn parse_scopes(names: &[String]) -> Result<Scopes> {
    Scopes::parse(names).map_err(|error| match error {
        Error::Invalid(issues) => {
            let wrong: Vec<_> = issues.into_iter().map(|issue| issue.message).collect();
            let known: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
            let (wrong, known) = (wrong.join(", "), known.join(", "));
            Error::Malformed(format!("{wrong}; the scopes are {ALL_REST}, {known}").into())
        }
        other => other,
    })
}

async fn key_create(store: &Store, secret: &KeySecret, command: &KeyCreate) -> Result<Made> {
    let scopes = match command.scopes.as_slice() {
        [] => Scopes::all_rest(),
        names => parse_scopes(names)?,
    };
    let mut tx = store.begin_system().await?;
    let org = accounts::org_by_slug(&mut tx, &command.org).await?;
    let user = accounts::find_user(&mut tx, command.email.trim()).await?;
    let role = accounts::role_of(&mut tx, &org.id, &user.id).await?;
    let made = mint(&mut tx, secret, &org, &user, role, &scopes).await?;
    tx.commit().await?;
    Ok(made)
}

pub(super) async fn run(command: Admin) -> std::result::Result<(), CommandError> {
    match command {
        Admin::Bootstrap(c) => {
            make(&c.common, async |store, key| bootstrap(store, key, &c.org, &c.email).await).await
        }
        Admin::User(UserCommand::Add(c)) => {
            make(&c.common, async |store, key| user_add(store, key, &c).await).await
        }
        Admin::Key(KeyCommand::Create(c)) => {
            make(&c.common, async |store, key| key_create(store, key, &c).await).await
        }
        Admin::Org(OrgCommand::Quota(command)) => quota::run(command).await,
        Admin::Credits(command) => credits::run(command).await,
    }
}

/// Makes something, beside a running server or without one, and says what.
async fn make(
    common: &Common,
    work: impl AsyncFnOnce(&Store, &KeySecret) -> Result<Made>,
) -> std::result::Result<(), CommandError> {
    let database = Database::open(&common.storage, Access::Shared, progress()).await?;
    let outcome = async {
        let (store, _) = database.store(PoolConfig::for_command(), Clock::Database).await?;
        let secret = key_secret(&store, &common.storage).await?;
        Ok::<Made, CommandError>(work(&store, &secret).await?)
    }
    .await;
    database.stop().await?;
    outcome?.print(common.output)
}
