//! Names into addresses, each of which is looked at before anything connects to it.

use super::{Trust, UrlError, address};
use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Looks names up.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of a name; an error when there are none.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// A resolver that answers with nothing that must not be connected to. HTTP clients that resolve
/// through it connect to addresses that were looked at, and to no others.
#[derive(Clone)]
pub struct CheckedResolver {
    resolver: Arc<dyn Resolver>,
    trust: Trust,
}

impl CheckedResolver {
    /// Over `resolver`.
    pub fn new(resolver: Arc<dyn Resolver>, trust: Trust) -> Self {
        CheckedResolver { resolver, trust }
    }

    /// The addresses of a name, all of them allowed: one that is not spoils the others, because
    /// nobody knows which of them would be connected to.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, UrlError> {
        let found = self.resolver.resolve(name).await.map_err(|_| UrlError::Unresolvable)?;
        if found.is_empty() {
            return Err(UrlError::Unresolvable);
        }
        let bad = |address: &IpAddr| address::forbidden(*address).is_some();
        if self.trust == Trust::Tenant && found.iter().any(bad) {
            return Err(UrlError::Resolved);
        }
        Ok(found)
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = this.addresses(name.as_str()).await?;
            // port 0: the URL's
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}
