//! Where people reach this server.

use std::sync::{Arc, OnceLock};

/// Where people reach this server. Known at the latest when it listens.
#[derive(Clone, Debug, Default)]
pub struct PublicUrl(Arc<OnceLock<String>>);

impl PublicUrl {
    /// As the operator says.
    pub fn given(url: &url::Url) -> Self {
        let this = PublicUrl::default();
        this.or(url.as_str());
        this
    }

    /// Unless it is known already, it is this.
    pub fn or(&self, url: &str) {
        self.0.get_or_init(|| url.trim_end_matches('/').to_owned());
    }

    /// An absolute URL of this server; `path` begins with a slash.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0.get().map_or("", String::as_str))
    }
}
