//! How answers are worded: the path of a request alone says so.

use percent_encoding::percent_decode_str;

/// How answers are shaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The envelope around everything, camelCase, closed codes.
    #[default]
    Switchy,
    /// JSON-RPC messages (contract B9).
    JsonRpc,
}

/// The path where JSON-RPC is spoken.
const JSON_RPC: [&str; 2] = ["mcp", "rpc"];

impl Dialect {
    /// The dialect of a path as it was sent. Takes it apart as the router does (empty segments do
    /// not count, escapes are decoded): one route must not have two dialects.
    pub fn of(path: &str) -> Self {
        let decoded = |segment| percent_decode_str(segment).decode_utf8().ok();
        let segments = path.split('/').filter(|segment| !segment.is_empty()).map(decoded);
        if segments.eq(JSON_RPC.map(|segment| Some(segment.into()))) {
            Dialect::JsonRpc
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
        for path in ["/", "/mcp", "/mcp/rpc/x", "/api/mcp/rpc", "/api/mcp/servers", "/mcp/%ff"] {
            assert_eq!(Dialect::of(path), Dialect::Switchy, "{path}");
        }
    }
}
