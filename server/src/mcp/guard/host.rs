//! Names that stand for something inside, wherever they resolve to.

/// Names, with all below them, that no public server has.
pub const FORBIDDEN_NAMES: &[&str] = &[
    "localhost",
    "local",
    "localdomain",
    "internal",
    "home.arpa",
    "corp",
    "home",
    "intranet",
    "lan",
    "private",
];

/// Why nobody is looked for under this name; `None`: it may be resolved. The name is in lowercase
/// ASCII, as [`url::Url`] gives it; a dot at the end is of no account.
pub fn forbidden(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.split('.').any(str::is_empty) {
        return Some("is not a host name");
    }
    let reserved = FORBIDDEN_NAMES.iter().any(|reserved| {
        name.strip_suffix(reserved).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if reserved {
        return Some("is a name of a private network");
    }
    if !name.contains('.') {
        return Some("must be a full host name, with a dot in it");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_names_are_refused_with_everything_below_them() {
        for name in [
            "localhost",
            "localhost.",
            "a.localhost",
            "printer.local",
            "a.b.local.",
            "metadata.google.internal",
            "metadata.google.internal.",
            "internal",
            "db.internal",
            "router.home.arpa",
            "home.arpa",
            "nas.lan",
            "wiki.corp",
            "localhost.localdomain",
            "metadata",
            "intranet",
            "com",
            "",
            ".",
            "a..example.com",
            ".example.com",
            "example.com..",
        ] {
            assert!(forbidden(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn names_that_merely_look_like_them_are_not() {
        for name in [
            "example.com",
            "example.com.",
            "mcp.example.com",
            "localhost.example.com",
            "local.example",
            "notlocal.example",
            "my-internal.dev",
            "thelocalhost.com",
            "xn--mnchen-3ya.example",
        ] {
            assert_eq!(forbidden(name), None, "{name:?}");
        }
    }
}
