//! Which API a request speaks to, and so how its answers are worded (contract B9, D1, D6): its path
//! alone says so.

use percent_encoding::percent_decode_str;

/// How answers are shaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The envelope around everything, camelCase, closed codes.
    #[default]
    Switchy,
    /// Bare snake_case objects, and the canonical error envelope.
    SaveSession,
    /// JSON-RPC messages (contract B9).
    JsonRpc,
}

/// The segments below which the second dialect is spoken.
const SAVE_SESSION: [&str; 3] = ["api", "v1", "org"];

/// The path where JSON-RPC is spoken.
const JSON_RPC: [&str; 2] = ["mcp", "rpc"];

impl Dialect {
    /// The header besides `Authorization` that may carry the key.
    pub fn key_header(self) -> Option<&'static str> {
        (self == Dialect::SaveSession).then_some("x-api-key")
    }

    /// The dialect of a path as it was sent. Takes it apart as the router does (empty segments do
    /// not count, escapes are decoded): one route must not have two dialects.
    pub fn of(path: &str) -> Self {
        let decoded = |segment| percent_decode_str(segment).decode_utf8().ok();
        let segments = path.split('/').filter(|segment| !segment.is_empty()).map(decoded);
        if segments.clone().eq(JSON_RPC.map(|segment| Some(segment.into()))) {
            return Dialect::JsonRpc;
        }
        let below = segments.take(SAVE_SESSION.len()).eq(SAVE_SESSION.map(|s| Some(s.into())));
        if below && path.trim_start_matches('/').matches('/').count() >= SAVE_SESSION.len() {
            Dialect::SaveSession
        } else {
            Dialect::Switchy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_alone_decides() {
        for path in ["/mcp/rpc", "/mcp/rpc/", "//mcp//rpc", "/mcp/%72pc"] {
            assert_eq!(Dialect::of(path), Dialect::JsonRpc, "{path}");
        }
        for path in [
            "/api/v1/org/acme/ws/team/sessions",
            "/api/v1/org/",
            "/api/v1/org/x",
            "//api//v1/org/acme",
            "/api/%761/org/acme",
        ] {
            assert_eq!(Dialect::of(path), Dialect::SaveSession, "{path}");
        }
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/api/v1/org",
            "/api/v1/organization/acme",
            "/api/org/cmo5/members",
            "/api/v2/org/acme",
            "/v1/org/acme",
            "/api/%ff/org/acme",
            "/mcp",
            "/mcp/rpc/x",
            "/api/mcp/rpc",
            "/api/mcp/servers",
            "/mcp/%ff",
        ] {
            assert_eq!(Dialect::of(path), Dialect::Switchy, "{path}");
        }
    }
}
