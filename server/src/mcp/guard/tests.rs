//! URLs in every spelling.

use super::*;
use async_trait::async_trait;
use std::io;
use std::net::IpAddr;

/// Answers every name with the same addresses.
struct Fixed(Vec<&'static str>);

#[async_trait]
impl Resolver for Fixed {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.0.iter().map(|text| text.parse().expect("an address")).collect())
    }
}

fn guard(allowed: &str, addresses: &[&'static str]) -> Guard {
    Guard::new(allowed.parse().expect("hosts"), Arc::new(Fixed(addresses.to_vec())))
}

/// Whether the URL is refused before anything is looked up.
fn refused(url: &str) -> bool {
    match parse(url) {
        Err(_) => true,
        Ok(url) => guard("", &[]).inspect(&url).is_err(),
    }
}

#[test]
fn an_ipv4_address_is_refused_in_every_spelling() {
    for url in [
        "https://127.0.0.1/mcp",
        "https://127.0.0.1./mcp",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://127.1/",
        "https://127.0.1/",
        "https://0/",
        "https://0x0/",
        "https://0000::1/",
        "https://１２７.０.０.１/",
        "https://127。0。0。1/",
        "https://①②⑦.0.0.1/",
        "https://%31%32%37.0.0.1/",
        "https://10.0.0.1:8443/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
    ] {
        assert!(refused(url), "{url}");
    }
}

#[test]
fn an_ipv6_address_is_refused_in_every_spelling() {
    for url in [
        "https://[::1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[0:0:0:0:0:FFFF:A9FE:A9FE]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::10.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
        "https://[fc00::1]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
    ] {
        assert!(refused(url), "{url}");
    }
}

#[test]
fn an_inner_name_is_refused_in_every_spelling() {
    for url in [
        "https://localhost/",
        "https://LOCALHOST/",
        "https://localhost./",
        "https://LocalHost:8443/",
        "https://a.localhost/",
        "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "https://ｌｏｃａｌｈｏｓｔ/",
        "https://%6c%6fcalhost/",
        "https://printer.local/",
        "https://db.internal/",
        "https://metadata.google.internal/computeMetadata/v1/",
        "https://METADATA.GOOGLE.INTERNAL./",
        "https://metadata。google。internal/",
        "https://router.home.arpa/",
        "https://metadata/",
        "https://postgres:8443/",
    ] {
        assert!(refused(url), "{url}");
    }
}

#[test]
fn scheme_user_port_and_fragment_have_their_rules() {
    for url in [
        "http://mcp.example.com/",
        "ftp://mcp.example.com/",
        "file:///etc/passwd",
        "gopher://mcp.example.com/",
        "unix:/run/postgres",
        "data:text/plain,hi",
        "javascript:alert(1)",
        "//mcp.example.com/",
        "/mcp",
        "mcp.example.com",
        "",
        "https://",
        "https:///mcp",
        "https://user@mcp.example.com/",
        "https://user:word@mcp.example.com/",
        "https://:word@mcp.example.com/",
        "https://mcp.example.com@127.0.0.1/",
        "https://mcp.example.com/#top",
        "https://mcp.example.com:22/",
        "https://mcp.example.com:80/",
        "https://mcp.example.com:0/",
        "https://mcp.example.com:1023/",
        "https://mcp.example.com:65536/",
        "https://mcp.example.com\\@127.0.0.1/x y",
        "https://mcp.exa mple.com/",
        "https://mcp.example.com/\n",
        "https://mcp.exam\tple.com/",
        "https://mcp.example.com/\u{0}",
    ] {
        assert!(refused(url), "{url:?}");
    }
    for url in [
        "https://mcp.example.com",
        "https://mcp.example.com/mcp?tenant=a",
        "HTTPS://MCP.EXAMPLE.COM:443/",
        "https://mcp.example.com:1024/",
        "https://mcp.example.com:65535/",
        "https://mcp.example.com./",
        "https://münchen.example/",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]:8443/mcp",
    ] {
        assert!(!refused(url), "{url}");
    }
    let long = format!("https://mcp.example.com/{}", "a".repeat(MAX_URL));
    assert!(refused(&long));
}

#[test]
fn everything_that_is_wrong_is_said() {
    let url = Url::parse("http://user@10.0.0.1:22/#x").expect("a URL");
    let refusals = guard("", &[]).inspect(&url).expect_err("refused");
    assert_eq!(refusals.len(), 4, "{refusals:?}");
    let url = Url::parse("https://localhost:22/").expect("a URL");
    assert_eq!(guard("", &[]).inspect(&url).expect_err("refused").len(), 2);
}

#[test]
fn for_a_listed_host_neither_address_nor_scheme_matters_but_the_form_does() {
    let guard = guard("tools.internal, 10.0.0.1:8080", &[]);
    let inspect = |url: &str| guard.inspect(&Url::parse(url).expect("a URL"));
    for url in
        ["http://tools.internal/mcp", "https://tools.internal:22/", "http://10.0.0.1:8080/mcp"]
    {
        assert_eq!(inspect(url), Ok(Trust::Operator), "{url}");
    }
    for url in [
        "http://user@tools.internal/",
        "http://tools.internal/#x",
        "ftp://tools.internal/",
        "http://10.0.0.1:8081/",
        "http://10.0.0.2:8080/",
        "http://other.internal/",
    ] {
        assert!(inspect(url).is_err(), "{url}");
    }
    assert_eq!(inspect("https://mcp.example.com/"), Ok(Trust::Tenant));
}

#[tokio::test]
async fn one_bad_address_spoils_a_name() {
    let url = Url::parse("https://mcp.example.com/").expect("a URL");
    let check = async |allowed: &str, addresses: &[&'static str]| {
        guard(allowed, addresses).check(&url).await
    };
    assert_eq!(check("", &["1.1.1.1", "2606:4700:4700::1111"]).await, Ok(Trust::Tenant));
    for bad in ["127.0.0.1", "::1", "10.0.0.1", "::ffff:10.0.0.1", "169.254.169.254"] {
        assert_eq!(check("", &["1.1.1.1", bad]).await, Err(vec![UrlError::Resolved]), "{bad}");
        assert_eq!(check("", &[bad]).await, Err(vec![UrlError::Resolved]), "{bad}");
    }
    assert_eq!(check("", &[]).await, Err(vec![UrlError::Unresolvable]));
    assert_eq!(check("mcp.example.com", &["127.0.0.1"]).await, Ok(Trust::Operator));
    assert_eq!(check("mcp.example.com", &[]).await, Err(vec![UrlError::Unresolvable]));
}
