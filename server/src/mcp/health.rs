//! How integrations are: asked when somebody wants to know, and again and again in the background.

use super::client::{Credential, UpstreamError, Upstreams};
use super::guard;
use crate::error::Result;
use crate::store::Store;
use crate::store::mcp_servers::{self, McpAuthType, McpHealth, Target};
use crate::store::vault::Vault;
use futures::StreamExt;
use secrecy::SecretString;
use slog::Logger;
use std::time::{Duration, Instant};

/// A server that takes longer than this, as a part of the deadline, is degraded.
const SLOW: f64 = 0.5;
/// How often the background looks for checks that are due.
const LOOK: Duration = Duration::from_secs(60);
/// Servers that a process checks at a time, in the background.
const AT_A_TIME: usize = 16;
/// Servers that are claimed at once.
const BATCH: i32 = 32;
/// Longest name or version that is passed on, in characters.
const MAX_NAME: usize = 200;

/// What a server that works said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The protocol's version that was agreed on.
    pub protocol_version: String,
    /// How many tools it has; `None` when it says that it has none to list.
    pub tools: Option<usize>,
}

/// How a server was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In a word.
    pub health: McpHealth,
    /// How long it took.
    pub latency: Duration,
    /// What it said, or why it could not be used.
    pub outcome: Result<Seen, UpstreamError>,
}

/// What somebody else wrote, made harmless: short, and without control characters.
fn tame(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

fn credential(vault: &Vault, target: &Target) -> Result<Credential, UpstreamError> {
    let secret = match (&target.secret, target.auth_type) {
        (_, McpAuthType::None) => SecretString::default(),
        (Some(sealed), _) => {
            vault.open(&target.org_id, sealed).map_err(|_| UpstreamError::secret_unreadable())?
        }
        (None, _) => return Err(UpstreamError::secret_unreadable()),
    };
    Credential::parse(target.auth_type, &secret).map_err(|_| UpstreamError::secret_unreadable())
}

async fn look(
    upstreams: &Upstreams,
    vault: &Vault,
    target: &Target,
) -> Result<Seen, UpstreamError> {
    let credential = credential(vault, target)?;
    let url = guard::parse(&target.endpoint_url).map_err(|refusals| {
        let fallback = guard::UrlError::Form("is not valid");
        UpstreamError::from(refusals.first().unwrap_or(&fallback))
    })?;
    let upstream = upstreams.connect(url, credential).await?;
    let tools = upstream.list_tools().await?;
    let server = upstream.server();
    let us = server.as_ref().and_then(|server| server.server_info.as_ref());
    Ok(Seen {
        name: us.map(|us| tame(&us.name)),
        version: us.map(|us| tame(&us.version)),
        protocol_version: server.map(|s| tame(s.protocol_version.as_str())).unwrap_or_default(),
        tools: tools.map(|tools| tools.len()),
    })
}

/// Calls a server as it would be called for its tools. Holds no connection to the database.
pub async fn check(upstreams: &Upstreams, vault: &Vault, target: &Target) -> Report {
    let begun = Instant::now();
    let deadline = upstreams.deadline();
    let outcome = tokio::time::timeout(deadline, look(upstreams, vault, target)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(UpstreamError::timed_out(deadline)));
    let latency = begun.elapsed();
    let health = match &outcome {
        Ok(_) if latency > deadline.mul_f64(SLOW) => McpHealth::Degraded,
        Ok(_) => McpHealth::Healthy,
        Err(failure) => failure.health(),
    };
    Report { health, latency, outcome }
}

/// Checks every server whose time has come and that no other process has taken; returns how many.
pub async fn round(store: &Store, upstreams: &Upstreams, vault: &Vault) -> Result<usize> {
    let mut checked = 0;
    loop {
        let due = mcp_servers::claim_due(store, BATCH).await?;
        if due.is_empty() {
            return Ok(checked);
        }
        let mut reports = futures::stream::iter(due)
            .map(|target| async move {
                let report = check(upstreams, vault, &target).await;
                (target, report)
            })
            .buffer_unordered(AT_A_TIME);
        while let Some((target, report)) = reports.next().await {
            mcp_servers::record_due(store, &target, report.health).await?;
            checked += 1;
        }
    }
}

/// Keeps checking, for as long as the server runs.
pub async fn keep_checking(store: Store, upstreams: Upstreams, vault: Vault, log: Logger) {
    loop {
        match round(&store, &upstreams, &vault).await {
            Ok(0) => {}
            Ok(checked) => slog::debug!(log, "integrations checked"; "servers" => checked),
            Err(error) => {
                slog::warn!(log, "integrations could not be checked"; "error" => error.chain());
            }
        }
        // not all processes of a service at the same moment
        let early = rand::random_range(0.0..0.2);
        tokio::time::sleep(LOOK.mul_f64(1.0 - early)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_call_themselves_is_short_and_on_one_line() {
        assert_eq!(tame("a\u{1b}[31m\n\u{0}b"), "a[31mb");
        assert_eq!(tame(&"x".repeat(5_000)).len(), MAX_NAME);
    }
}
