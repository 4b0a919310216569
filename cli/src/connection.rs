//! Which server to talk to, and as whom.

use std::{env, time::Duration};

use futures::TryStreamExt;
use secrecy::{ExposeSecret, SecretString};
use switchy::{Client, ClientBuilder, types::Membership};
use url::Url;

use crate::{
    args::Global,
    config::{self, Config},
    failure::{Exit, Failure},
};

/// Where a server listens when it is started without settings.
pub const LOCAL_SERVER: &str = "http://127.0.0.1:3000";

/// Where the path of the API begins on a server.
const API_PATH: &str = "/api";

/// The variable with the API key. There is no option for it: other users can read the arguments
/// of a process.
const API_KEY: &str = "SWITCHY_API_KEY";

/// How many Spaces `GET /me` shows.
const SHOWN_SPACES: usize = 1_000;

/// The length of an id.
const ID_LENGTH: usize = 25;

/// Which server, and as whom.
pub struct Connection {
    /// The profile that they come from.
    pub profile: Option<String>,
    /// Of the API, its path included.
    pub url: String,
    key: SecretString,
}

/// The key in the environment, if any.
pub fn key_of_environment() -> Option<SecretString> {
    env::var(API_KEY)
        .ok()
        .map(|key| key.trim().to_string())
        .filter(|key| !key.is_empty())
        .map(Into::into)
}

/// The URL of the API for what a person wrote: `/api` is added when there is no path.
///
/// # Errors
///
/// When it is no URL.
pub fn api_url(given: &str) -> Result<String, Failure> {
    let given = given.trim();
    let mut url = Url::parse(given).map_err(|cause| {
        Failure::usage(format!("`{given}` is not a URL: {cause}"))
            .hint(format!("a server's URL looks like {LOCAL_SERVER}"))
    })?;
    if url.path() == "/" || url.path().is_empty() {
        url.set_path(API_PATH);
    }
    Ok(url.as_str().trim_end_matches('/').to_string())
}

impl Connection {
    /// From the options, the environment and the profile, in this order.
    ///
    /// # Errors
    ///
    /// When there is no such profile, or no key for the server.
    pub fn choose(global: &Global) -> Result<Self, Failure> {
        Self::at(Place::choose(global)?)
    }

    /// At this server.
    ///
    /// # Errors
    ///
    /// When there is no key for it.
    pub fn at(Place { profile, url, told, key }: Place) -> Result<Self, Failure> {
        let Some(key) = key else {
            return Err(Failure::new(
                Exit::Authentication,
                match &told {
                    Some(url) => format!("there is no API key for {url}"),
                    None => "there is no API key".into(),
                },
            )
            .hint(format!("`switchy login` saves one; or set {API_KEY}")));
        };
        Ok(Self { profile, url, key })
    }

    /// A client that says on standard error when it has to wait.
    ///
    /// # Errors
    ///
    /// When the URL or the key cannot be used.
    pub fn client(&self) -> Result<Client, Failure> {
        let wait = |time: Duration| {
            eprintln!("the server asks to wait: trying again in {} s", time.as_secs_f32());
            tokio::time::sleep(time)
        };
        Ok(self.builder().sleep_with(wait).build()?)
    }

    /// A client that leaves all waiting to its user.
    ///
    /// # Errors
    ///
    /// When the URL or the key cannot be used.
    pub fn client_without_retries(&self) -> Result<Client, Failure> {
        Ok(self.builder().max_retries(0).build()?)
    }

    /// Whether this is the key that is used.
    pub fn uses(&self, key: &SecretString) -> bool {
        self.key.expose_secret() == key.expose_secret()
    }

    /// The API key, for what is no request to the API.
    pub fn key(&self) -> &SecretString {
        &self.key
    }

    fn builder(&self) -> ClientBuilder {
        Client::builder().base_url(&self.url).api_key(self.key.clone())
    }
}

/// Which server, and the key for it, if there is one.
#[derive(Clone)]
pub struct Place {
    /// The profile that they come from.
    pub profile: Option<String>,
    /// Of the API, its path included.
    pub url: String,
    /// The URL that was given, if one was.
    pub told: Option<String>,
    /// The key.
    pub key: Option<SecretString>,
}

impl Place {
    /// From the options, the environment and the profile, in this order.
    ///
    /// # Errors
    ///
    /// When there is no such profile.
    pub fn choose(global: &Global) -> Result<Self, Failure> {
        let config = Config::load(&config::path()?)?;
        let name = global.profile.as_deref().filter(|name| !name.is_empty());
        let profile = match name {
            Some(name) => Some(config.profiles.get_key_value(name).ok_or_else(|| {
                Failure::usage(format!("there is no profile `{name}`"))
                    .hint(format!("the profiles are: {}", config.names()))
            })?),
            None => config.current.as_deref().and_then(|name| config.profiles.get_key_value(name)),
        };

        let told = global.url.as_deref().filter(|url| !url.is_empty()).map(api_url).transpose()?;
        let saved = profile.map(|(_, profile)| api_url(&profile.url)).transpose()?;
        // A profile's key is for the profile's server, and is shown to no other.
        let key_of_profile = profile
            .filter(|_| told.is_none() || told == saved)
            .and_then(|(_, profile)| profile.api_key.clone());
        let url = match told.clone().or(saved) {
            Some(url) => url,
            None => api_url(LOCAL_SERVER)?,
        };
        Ok(Self {
            profile: profile.map(|(name, _)| name.clone()),
            url,
            told,
            key: key_of_environment().or(key_of_profile),
        })
    }
}

/// Where the server whose API this is speaks MCP.
pub fn mcp_url(api_url: &str) -> String {
    format!("{}/mcp/rpc", api_url.strip_suffix(API_PATH).unwrap_or(api_url))
}

/// Whether this has the form of an id.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH
        && text.starts_with('c')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The Space of these with this slug or id.
pub fn pick_space<'a>(spaces: &'a [Membership], wanted: &str) -> Result<&'a Membership, Failure> {
    spaces
        .iter()
        .find(|space| space.slug == wanted)
        .or_else(|| spaces.iter().find(|space| space.id == wanted))
        .ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("you are in no Space `{wanted}`"))
                .hint("`switchy space list` shows the Spaces that you are in")
        })
}

/// The id of the Space with this slug or id, among the caller's.
pub async fn space_id(client: &Client, wanted: &str) -> Result<String, Failure> {
    Ok(named(client, wanted).await?.0)
}

/// The slug of the Space with this slug or id. Slugs are believed, and cost no request.
pub async fn space_slug(client: &Client, wanted: &str) -> Result<String, Failure> {
    if !is_id(wanted) {
        return Ok(wanted.to_string());
    }
    Ok(named(client, wanted).await?.1)
}

/// Id and slug of the Space with this slug or id. `GET /me` shows most people all of their Spaces, in
/// one request.
async fn named(client: &Client, wanted: &str) -> Result<(String, String), Failure> {
    let me = client.me().await?;
    let picked = pick_space(&me.spaces, wanted).map(|space| (space.id.clone(), space.slug.clone()));
    if picked.is_ok() || me.spaces.len() < SHOWN_SPACES {
        return picked;
    }
    let mut spaces = client.spaces().list().stream();
    while let Some(space) = spaces.try_next().await? {
        if space.slug == wanted || space.id == wanted {
            return Ok((space.id, space.slug));
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_gets_that_of_the_api() {
        for (given, expected) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/api"),
            (" http://127.0.0.1:3000/ ", "http://127.0.0.1:3000/api"),
            ("https://a.example/api/", "https://a.example/api"),
            ("https://a.example/team/api", "https://a.example/team/api"),
        ] {
            assert_eq!(api_url(given).expect("a URL"), expected);
        }
        assert!(api_url("a.example").is_err());
    }

    #[test]
    fn mcp_is_spoken_beside_the_api() {
        for (api, mcp) in [
            ("http://127.0.0.1:3000/api", "http://127.0.0.1:3000/mcp/rpc"),
            ("https://a.example/team/api", "https://a.example/team/mcp/rpc"),
            ("https://a.example/other", "https://a.example/other/mcp/rpc"),
        ] {
            assert_eq!(mcp_url(api), mcp);
        }
    }

    #[test]
    fn ids_are_told_from_slugs() {
        assert!(is_id("cmo5w1c2t8zq4k7n3x9b6d0fh"));
        assert!(!is_id("platform-team"));
        assert!(!is_id("cmo5w1c2t8zq4k7n3x9b6d0f"));
    }
}
