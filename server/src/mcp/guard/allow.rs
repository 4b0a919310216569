//! The operator's list of internal servers (contract E6).

use std::str::FromStr;
use url::{Host, Url};

/// Hosts for which neither the address rules nor the HTTPS requirement hold:
/// `SWITCHY_MCP_ALLOW_HOSTS`. Sizes, deadlines and the ban on redirects still do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<Allowed>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    host: Host<String>,
    /// `None`: every port.
    port: Option<u16>,
}

/// An entry that is none; says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` {why}; expected HOST or HOST:PORT, separated by commas")]
pub struct NotAHost {
    entry: String,
    why: &'static str,
}

/// The same host, however it is written.
fn same(host: Host<&str>) -> Host<String> {
    match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').unwrap_or(name).to_owned()),
        Host::Ipv4(address) => Host::Ipv4(address),
        Host::Ipv6(address) => Host::Ipv6(address),
    }
}

impl AllowedHosts {
    /// Whether the list has the URL's host, for the URL's port.
    pub fn permit(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return false;
        };
        let host = same(host);
        self.0.iter().any(|a| a.host == host && a.port.is_none_or(|allowed| allowed == port))
    }
}

fn entry(text: &str) -> Result<Allowed, NotAHost> {
    let refused = |why| NotAHost { entry: text.to_owned(), why };
    if text.contains("://") || text.contains(['/', '?', '#', '@', '\\']) {
        return Err(refused("is more than a host"));
    }
    if text.contains('*') {
        return Err(refused("has a wildcard, which is not understood"));
    }
    // the URL parser knows every way to write a host; the scheme has no port of its own
    let url = Url::parse(&format!("https://{text}/")).map_err(|_| refused("is not a host"))?;
    let host = url.host().map(same).ok_or_else(|| refused("is not a host"))?;
    // `host:443` is no different from `host` to the parser, but it is to the operator
    let named = text.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let port = match named {
        Some((_, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(refused("has no valid port")),
        },
        None => None,
    };
    Ok(Allowed { host, port })
}

impl FromStr for AllowedHosts {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(entry).collect::<Result<_, _>>().map(AllowedHosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(list: &str, url: &str) -> bool {
        list.parse::<AllowedHosts>().expect(list).permit(&Url::parse(url).expect(url))
    }

    #[test]
    fn a_host_is_permitted_however_it_is_written() {
        assert!(permits("tools.internal", "http://tools.internal/mcp"));
        assert!(permits("Tools.Internal.", "https://tools.internal:8443/mcp"));
        assert!(permits(" a.b , 127.0.0.1 ,", "http://127.1:5000/"));
        assert!(permits("[::1]", "http://[0:0:0:0:0:0:0:1]:5000/"));
        assert!(permits("[::1]:5000", "http://[::1]:5000/"));
        assert!(permits("127.0.0.1:443", "https://127.0.0.1/"));
        assert!(permits("127.0.0.1:80", "http://127.0.0.1/"));
    }

    #[test]
    fn another_host_or_port_is_not() {
        assert!(!permits("", "http://localhost/"));
        assert!(!permits("tools.internal", "http://db.tools.internal/"));
        assert!(!permits("tools.internal", "http://tools.internal.example.com/"));
        assert!(!permits("127.0.0.1:5000", "http://127.0.0.1:5001/"));
        assert!(!permits("127.0.0.1:443", "http://127.0.0.1/"));
        assert!(!permits("[::1]:5000", "http://[::1]/"));
    }

    #[test]
    fn what_is_no_host_is_refused_by_name() {
        for bad in [
            "http://a.b",
            "a.b/mcp",
            "user@a.b",
            "*.internal",
            "a b",
            "a:0",
            "a:65536",
            "a:x",
            "a:",
            ":80",
            "::1",
            "[::1",
            "a..b:x,ok",
        ] {
            let refusal = bad.parse::<AllowedHosts>().expect_err(bad).to_string();
            assert!(refusal.contains("HOST:PORT"), "{refusal}");
        }
    }
}
