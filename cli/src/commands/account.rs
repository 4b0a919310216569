//! `login`, `logout` and `whoami`.

use std::io::{self, IsTerminal};

use inquire::{Password, PasswordDisplayMode, Text};
use secrecy::SecretString;
use switchy::{Client, types};
use url::{Host, Url};

use crate::{
    args::{Global, Login},
    config::{self, Config, Profile},
    connection::{Connection, LOCAL_SERVER, api_url, key_of_environment},
    failure::Failure,
    output::{Output, date},
};

/// The name of the profile for a server on this machine; the server itself makes one of this name.
const LOCAL_PROFILE: &str = "local";

/// Tries a key, and saves it.
pub async fn login(global: &Global, options: &Login, output: &Output) -> Result<(), Failure> {
    let path = config::path()?;
    let mut config = Config::load(&path)?;
    let asking = io::stdin().is_terminal() && !options.key_stdin;

    let told = global.profile.clone().filter(|name| !name.is_empty());
    let saved = told.as_ref().and_then(|name| config.profiles.get(name));
    let proposed = saved.map_or(LOCAL_SERVER, |profile| profile.url.as_str());
    let url = match &global.url {
        Some(url) if !url.is_empty() => url.clone(),
        _ if asking => Text::new("Server:").with_default(proposed).prompt()?,
        _ => proposed.to_string(),
    };
    let url = api_url(&url)?;
    let key = key(options, asking)?;

    let client = Client::builder().base_url(&url).api_key(key.clone()).build()?;
    let me = client.me().await?;

    let name = told.unwrap_or_else(|| profile_name(&url));
    config.profiles.insert(name.clone(), Profile { url, api_key: Some(key) });
    config.current = Some(name.clone());
    config.save(&path)?;
    output.say(&format!(
        "logged in as {} of {}; saved as profile `{name}` in {}",
        me.user.email,
        me.organization.name,
        path.display()
    ))
}

fn key(options: &Login, asking: bool) -> Result<SecretString, Failure> {
    let key = if options.key_stdin {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map_err(|cause| Failure::usage(format!("cannot read the API key: {cause}")))?;
        line.trim().to_string().into()
    } else if let Some(key) = key_of_environment() {
        key
    } else if asking {
        Password::new("API key:")
            .with_display_mode(PasswordDisplayMode::Hidden)
            .without_confirmation()
            .prompt()?
            .trim()
            .to_string()
            .into()
    } else {
        return Err(Failure::usage("there is no terminal to ask for the API key")
            .hint("pipe it in with --key-stdin, or set SWITCHY_API_KEY"));
    };
    Ok(key)
}

/// A profile's name for a server: its host.
fn profile_name(url: &str) -> String {
    let url = Url::parse(url).ok();
    match url.as_ref().and_then(Url::host) {
        Some(Host::Ipv4(address)) if address.is_loopback() => LOCAL_PROFILE.into(),
        Some(Host::Ipv6(address)) if address.is_loopback() => LOCAL_PROFILE.into(),
        Some(Host::Domain("localhost")) | None => LOCAL_PROFILE.into(),
        Some(host) => host.to_string(),
    }
}

/// Forgets a key, and keeps the profile's URL for the next login.
pub fn logout(global: &Global, output: &Output) -> Result<(), Failure> {
    let path = config::path()?;
    let mut config = Config::load(&path)?;
    let name = global.profile.clone().or_else(|| config.current.clone());
    let Some(name) = name else { return output.say("there is no key to forget") };
    let names = config.names();
    let Some(profile) = config.profiles.get_mut(&name) else {
        return Err(Failure::usage(format!("there is no profile `{name}`"))
            .hint(format!("the profiles are: {names}")));
    };
    profile.api_key = None;
    config.save(&path)?;
    output.say(&format!("the key of profile `{name}` is forgotten; the server still accepts it"))
}

/// Shows whose key it is.
pub async fn whoami(connection: &Connection, output: &Output) -> Result<(), Failure> {
    let request = connection.client()?.me();
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    let me = request.await?;
    output.fields(&[
        ("user", Some(person(&me.user))),
        ("organization", Some(format!("{} ({})", me.organization.name, me.organization.slug))),
        ("role", Some(me.role.to_string())),
        ("scopes", Some(me.scopes.join(", "))),
        ("key", Some(format!("{} ({})", me.key.name, me.key.id))),
        ("expires", Some(me.key.expires_at.as_ref().map_or_else(|| "never".into(), date))),
        ("server", Some(connection.url.clone())),
        ("profile", connection.profile.clone()),
    ])?;
    if me.spaces.is_empty() {
        return Ok(());
    }
    output.write("\n")?;
    let rows = me.spaces.into_iter();
    let rows = rows.map(|space| vec![space.slug, space.role.to_string(), space.name]).collect();
    output.table(&["SPACE", "ROLE", "NAME"], rows)
}

fn person(user: &types::User) -> String {
    match &user.name {
        Some(name) => format!("{name} <{}>", user.email),
        None => user.email.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::profile_name;

    #[test]
    fn a_profile_is_named_after_its_host() {
        assert_eq!(profile_name("http://127.0.0.1:3000/api"), "local");
        assert_eq!(profile_name("http://localhost:3000/api"), "local");
        assert_eq!(profile_name("http://[::1]:3000/api"), "local");
        assert_eq!(profile_name("https://switchy.example/api"), "switchy.example");
    }
}
