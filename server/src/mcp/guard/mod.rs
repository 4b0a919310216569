//! Whom this server talks to for a tenant, and whom never (contract B7, E6).
//!
//! Tenants name the URL, so it may lead anywhere: to this machine, to its network, to the metadata
//! of its cloud. The same rules hold when a URL is registered and whenever it is called; what a
//! name resolves to is looked at when the connection is made, and the connection goes to an address
//! that was looked at, so that a name that changes its mind in between gains nothing.

pub mod address;
mod allow;
pub mod host;
mod resolve;

pub use allow::{AllowedHosts, NotAHost};
pub use resolve::{CheckedResolver, Resolver, SystemResolver};

use std::sync::Arc;
use url::{Host, Url};

/// Longest endpoint URL, in characters.
pub const MAX_URL: usize = 2_048;
/// The only port below 1024 that is connected to.
pub const HTTPS_PORT: u16 = 443;
/// Ports below this belong to a machine's own services.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// Why a URL is not called. The display completes a sentence that begins with the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The URL itself: scheme, user, port.
    #[error("{0}")]
    Form(&'static str),
    /// A name that is refused without looking it up.
    #[error("{0}")]
    Name(&'static str),
    /// An address that is not on the Internet.
    #[error("must lead to an address on the Internet; this one is {0}")]
    Address(&'static str),
    /// A name with such an address. Which one is for nobody to know.
    #[error("must lead to an address on the Internet; this name leads elsewhere")]
    Resolved,
    /// A name without an address.
    #[error("has a host name that cannot be resolved")]
    Unresolvable,
}

impl UrlError {
    /// Stable and machine-readable.
    pub fn code(&self) -> &'static str {
        match self {
            UrlError::Form(_) => "invalid",
            UrlError::Name(_) | UrlError::Address(_) | UrlError::Resolved => "address_forbidden",
            UrlError::Unresolvable => "dns_failed",
        }
    }
}

/// Whose word it is that a URL may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A tenant's: the rules hold.
    Tenant,
    /// The operator's, who has listed the host.
    Operator,
}

/// The rules, with the operator's exceptions.
#[derive(Clone)]
pub struct Guard {
    allowed: AllowedHosts,
    resolver: Arc<dyn Resolver>,
}

impl Guard {
    /// With these exceptions.
    pub fn new(allowed: AllowedHosts, resolver: Arc<dyn Resolver>) -> Self {
        Guard { allowed, resolver }
    }

    /// What resolves names.
    pub fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.resolver
    }

    /// Everything that is wrong with a URL before any name is looked up; otherwise whose word it
    /// is that it may be called.
    pub fn inspect(&self, url: &Url) -> Result<Trust, Vec<UrlError>> {
        let mut refusals = form(url);
        if refusals.is_empty() && self.allowed.permit(url) {
            return Ok(Trust::Operator);
        }
        if url.scheme() == "http" {
            refusals.push(UrlError::Form("must begin with https://"));
        }
        if let Some(port) = url.port_or_known_default()
            && url.scheme() != "http"
            && port != HTTPS_PORT
            && port < FIRST_UNPRIVILEGED_PORT
        {
            refusals.push(UrlError::Form("must have the port 443, or one from 1024"));
        }
        match url.host() {
            Some(Host::Ipv4(v4)) => {
                refusals.extend(address::forbidden(v4.into()).map(UrlError::Address));
            }
            Some(Host::Ipv6(v6)) => {
                refusals.extend(address::forbidden(v6.into()).map(UrlError::Address));
            }
            Some(Host::Domain(name)) => refusals.extend(host::forbidden(name).map(UrlError::Name)),
            None => {}
        }
        if refusals.is_empty() { Ok(Trust::Tenant) } else { Err(refusals) }
    }

    /// The same, and what the name resolves to now, if it is one.
    pub async fn check(&self, url: &Url) -> Result<Trust, Vec<UrlError>> {
        let trust = self.inspect(url)?;
        if let Some(name) = url.domain() {
            let resolver = CheckedResolver::new(Arc::clone(&self.resolver), trust);
            resolver.addresses(name).await.map_err(|refusal| vec![refusal])?;
        }
        Ok(trust)
    }
}

/// What is wrong with a URL, wherever it leads.
fn form(url: &Url) -> Vec<UrlError> {
    let mut refusals = Vec::new();
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        refusals.push(UrlError::Form("must be a URL that begins with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        refusals.push(UrlError::Form("must not contain a user or a password"));
    }
    if url.fragment().is_some() {
        refusals.push(UrlError::Form("must not have a fragment (#)"));
    }
    if url.as_str().len() > MAX_URL {
        refusals.push(UrlError::Form("must be at most 2048 characters"));
    }
    refusals
}

/// An endpoint as somebody wrote it: an absolute URL, or everything that is wrong with it whatever
/// the operator allows.
pub fn parse(text: &str) -> Result<Url, Vec<UrlError>> {
    // what the parser would silently drop; nobody should register what he did not write
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(vec![UrlError::Form("must not contain blanks or control characters")]);
    }
    let url = Url::parse(text)
        .map_err(|_| vec![UrlError::Form("must be a URL that begins with https://")])?;
    match form(&url) {
        refusals if refusals.is_empty() => Ok(url),
        refusals => Err(refusals),
    }
}

#[cfg(test)]
mod tests;
