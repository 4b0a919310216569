//! `profile`: which servers and keys are saved.

use secrecy::ExposeSecret;
use serde_json::json;

use crate::{
    args::Profile,
    config::{self, Config},
    failure::Failure,
    output::Output,
};

pub fn run(command: Profile, output: &Output) -> Result<(), Failure> {
    let path = config::path()?;
    let mut config = Config::load(&path)?;
    let known = |config: &Config, name: &str| match config.profiles.contains_key(name) {
        true => Ok(()),
        false => Err(Failure::usage(format!("there is no profile `{name}`"))
            .hint(format!("the profiles are: {}", config.names()))),
    };
    match command {
        Profile::List => list(&config, output),
        Profile::Use { name } => {
            known(&config, &name)?;
            config.current = Some(name.clone());
            config.save(&path)?;
            output.say(&format!("profile `{name}` is the current one"))
        }
        Profile::Key { name } => {
            let none = || Failure::usage("there is no current profile").hint("run `switchy login`");
            let name = name.or_else(|| config.current.clone()).ok_or_else(none)?;
            known(&config, &name)?;
            let key = config.profiles.get(&name).and_then(|profile| profile.api_key.as_ref());
            let keyless = || {
                Failure::usage(format!("the profile `{name}` has no key"))
                    .hint("run `switchy login`")
            };
            output.write(&format!("{}\n", key.ok_or_else(keyless)?.expose_secret()))
        }
        Profile::Remove { name } => {
            known(&config, &name)?;
            config.profiles.remove(&name);
            config.current = config.current.filter(|current| *current != name);
            config.save(&path)?;
            output.say(&format!("profile `{name}` is removed; the server still accepts its key"))
        }
    }
}

fn list(config: &Config, output: &Output) -> Result<(), Failure> {
    let is_current = |name: &String| config.current.as_ref() == Some(name);
    if output.is_json() {
        let profiles = config.profiles.iter().map(|(name, profile)| {
            json!({
                "name": name,
                "url": profile.url,
                "current": is_current(name),
                "hasKey": profile.api_key.is_some(),
            })
        });
        return output.json(&json!({ "profiles": profiles.collect::<Vec<_>>() }));
    }
    if config.profiles.is_empty() {
        return output.say("there is no profile yet; `switchy login` makes one");
    }
    let rows = config.profiles.iter().map(|(name, profile)| {
        let key = if profile.api_key.is_some() { "saved" } else { "none" };
        let current = if is_current(name) { "current" } else { "" };
        vec![name.clone(), profile.url.clone(), key.into(), current.into()]
    });
    output.table(&["PROFILE", "URL", "KEY", ""], rows.collect())
}
