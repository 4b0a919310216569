//! `key`.

use chrono::{TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use switchy::{Client, ErrorCode, MintedKey, types};

use super::{confirm::confirmed, pages};
use crate::{
    args::Key,
    config::{self, Config},
    connection::Connection,
    failure::{Exit, Failure},
    output::{Output, date},
};

pub async fn run(connection: &Connection, command: Key, output: &Output) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        Key::List { paging } => pages::list(client.keys().list(), paging, output, table).await,
        Key::Create { name, scopes, expires_in } => {
            let mut request = client.keys().create(name, scopes);
            if let Some(days) = expires_in {
                request = request.expires_at(Utc::now() + TimeDelta::days(days.into()));
            }
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            show(&request.await?, output)
        }
        Key::Rotate { yes, id } => {
            if !confirmed(yes, &format!("Give {id} a new secret? The old one stops at once."))? {
                return output.say("the key stays as it is");
            }
            let request = client.keys().rotate(id);
            if !output.is_json() {
                let rotated = request.await?;
                show(&rotated, output)?;
                return follow(connection, &client, rotated.secret.as_ref()).await;
            }
            let data = request.raw().await?;
            output.json(&data)?;
            let secret = data["key"]["secret"].as_str().map(SecretString::from);
            follow(connection, &client, secret.as_ref()).await
        }
        Key::Revoke { yes, ids } => revoke(&client, yes, &ids, output).await,
    }
}

/// Saves the new secret in the profile whose key it was that was rotated, if it was.
async fn follow(
    connection: &Connection,
    client: &Client,
    secret: Option<&SecretString>,
) -> Result<(), Failure> {
    let (Some(name), Some(secret)) = (&connection.profile, secret) else { return Ok(()) };
    // The key that is used still works: it was another one.
    match client.me().await {
        Err(error) if error.code() == &ErrorCode::Auth => {}
        _ => return Ok(()),
    }
    let path = config::path()?;
    let mut config = Config::load(&path)?;
    let Some(profile) = config.profiles.get_mut(name) else { return Ok(()) };
    if !profile.api_key.as_ref().is_some_and(|key| connection.uses(key)) {
        return Ok(());
    }
    profile.api_key = Some(secret.clone());
    config.save(&path)?;
    eprintln!("it was the key of profile `{name}`, which has the new one now");
    Ok(())
}

async fn revoke(
    client: &Client,
    yes: bool,
    ids: &[String],
    output: &Output,
) -> Result<(), Failure> {
    let question = match ids {
        [id] => format!("Revoke {id} for good?"),
        _ => format!("Revoke {} keys for good?", ids.len()),
    };
    if !confirmed(yes, &question)? {
        return output.say("nothing was revoked");
    }
    // One key that cannot be revoked is no reason to keep the others.
    let mut first_failure = None;
    for id in ids {
        match client.keys().revoke(id).await {
            Ok(()) => output.say(&format!("revoked {id}"))?,
            Err(error) => {
                let failure = Failure::from(error).about(id);
                match failure.exit() {
                    Exit::NotFound | Exit::Forbidden => {
                        let exit = failure.report();
                        first_failure.get_or_insert(exit);
                    }
                    _ => return Err(failure),
                }
            }
        }
    }
    first_failure.map_or(Ok(()), |exit| Err(Failure::told(exit)))
}

fn table(keys: Vec<types::Key>, output: &Output) -> Result<(), Failure> {
    let rows = keys.into_iter().map(|key| {
        let used = key.last_used_at.as_ref().map_or_else(|| "never".into(), date);
        let expires = key.expires_at.as_ref().map_or_else(|| "never".into(), date);
        vec![key.id, key.name, key.prefix + "…", key.scopes.join(" "), used, expires, key.user_id]
    });
    output.table(&["ID", "NAME", "KEY", "SCOPES", "USED", "EXPIRES", "USER"], rows.collect())
}

fn show(minted: &MintedKey, output: &Output) -> Result<(), Failure> {
    output.fields(&[
        ("id", Some(minted.id.clone())),
        ("name", Some(minted.name.clone())),
        ("scopes", Some(minted.scopes.join(" "))),
        ("expires", minted.expires_at.as_ref().map(date)),
        ("key", minted.secret.as_ref().map(|secret| secret.expose_secret().to_string())),
    ])?;
    eprintln!("the key is shown this once: keep it now");
    Ok(())
}
