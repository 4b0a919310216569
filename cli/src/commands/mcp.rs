//! `mcp`.

use std::io::{self, IsTerminal};

use inquire::{Password, PasswordDisplayMode};
use secrecy::SecretString;
use switchy::{Client, types};

use super::pages;
use crate::{
    args::{Mcp, McpAuth},
    commands::confirm::confirmed,
    connection::{is_id, space_slug},
    failure::{Exit, Failure},
    output::{Output, date},
};

pub async fn run(client: &Client, command: Mcp, output: &Output) -> Result<(), Failure> {
    match command {
        Mcp::List { space: None, paging } => {
            pages::list(client.mcp_servers().list(), paging, output, table).await
        }
        Mcp::List { space: Some(space), paging } => {
            let slug = space_slug(client, &space).await?;
            let request = client.space_mcps(&slug).list();
            pages::list(request, paging, output, table_of_space).await
        }
        Mcp::Add { name, endpoint, mention, auth, secret_stdin } => {
            let mut request = client.mcp_servers().create(name, mention, endpoint);
            request = match (auth, secret(auth, secret_stdin)?) {
                (McpAuth::Bearer, Some(secret)) => request.bearer(secret),
                (McpAuth::ApiKey, Some(secret)) => request.api_key(secret),
                _ => request,
            };
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            let server = request.await?;
            output.say(&format!(
                "registered {} as @{} ({}); `switchy mcp test {}` tells whether it works",
                server.display_name, server.mention_slug, server.id, server.mention_slug
            ))
        }
        Mcp::Remove { yes, servers } => remove(client, yes, &servers, output).await,
        Mcp::Test { server } => test(client, &server, output).await,
        Mcp::Bind { place, server } => {
            let slug = space_slug(client, &place.space).await?;
            let id = server_id(client, &server).await?;
            let bound = client.space_mcps(&slug).bind(id).await;
            bound.map_err(|error| Failure::from(error).about(&server))?;
            output.say(&format!("{slug} uses {server}"))
        }
        Mcp::Unbind { place, server } => {
            let slug = space_slug(client, &place.space).await?;
            let id = server_id(client, &server).await?;
            let unbound = client.space_mcps(&slug).unbind(id).await;
            unbound.map_err(|error| Failure::from(error).about(&server))?;
            output.say(&format!("{slug} no longer uses {server}"))
        }
    }
}

/// The secret, piped in or asked for. There is no option for it: other users can read the
/// arguments of a process.
fn secret(auth: McpAuth, from_stdin: bool) -> Result<Option<SecretString>, Failure> {
    let what = match auth {
        McpAuth::None if from_stdin => {
            return Err(Failure::usage("--secret-stdin goes with --auth bearer or --auth api-key"));
        }
        McpAuth::None => return Ok(None),
        McpAuth::Bearer => "Token:",
        McpAuth::ApiKey => "HeaderName:value:",
    };
    let text = if from_stdin {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map_err(|cause| Failure::usage(format!("cannot read the secret: {cause}")))?;
        line
    } else if io::stdin().is_terminal() {
        Password::new(what)
            .with_display_mode(PasswordDisplayMode::Hidden)
            .without_confirmation()
            .prompt()?
    } else {
        return Err(Failure::usage("there is no terminal to ask for the secret")
            .hint("pipe it in with --secret-stdin"));
    };
    Ok(Some(text.trim().to_owned().into()))
}

/// The id of the integration with this mention or id. Ids are believed, and cost no request.
async fn server_id(client: &Client, wanted: &str) -> Result<String, Failure> {
    if is_id(wanted) {
        return Ok(wanted.to_owned());
    }
    let mention = wanted.strip_prefix('@').unwrap_or(wanted);
    let servers = client.mcp_servers().list();
    let found = pages::find(servers, |server| server.mention_slug == mention).await?;
    found.map(|server| server.id).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no integration `{wanted}`"))
            .hint("`switchy mcp list` shows them")
    })
}

fn table(servers: Vec<types::McpServer>, output: &Output) -> Result<(), Failure> {
    if servers.is_empty() {
        return output.say("there is no integration; `switchy mcp add` registers one");
    }
    let rows = servers.into_iter().map(|server| {
        let checked = server.last_checked_at.as_ref().map(date).unwrap_or_default();
        let url = server.endpoint_url.unwrap_or_default();
        let auth = server.auth_type.to_string();
        let health = server.health.to_string();
        vec![server.mention_slug, server.display_name, health, checked, auth, url, server.id]
    });
    output
        .table(&["MENTION", "NAME", "HEALTH", "CHECKED", "AUTH", "ENDPOINT", "ID"], rows.collect())
}

fn table_of_space(servers: Vec<types::SpaceMcpServer>, output: &Output) -> Result<(), Failure> {
    if servers.is_empty() {
        return output.say("there is no integration; `switchy mcp add` registers one");
    }
    let rows = servers.into_iter().map(|server| {
        let bound = if server.bound { "yes" } else { "" };
        let health = server.health.to_string();
        vec![server.mention_slug, server.display_name, bound.into(), health, server.id]
    });
    output.table(&["MENTION", "NAME", "USED", "HEALTH", "ID"], rows.collect())
}

async fn remove(
    client: &Client,
    yes: bool,
    servers: &[String],
    output: &Output,
) -> Result<(), Failure> {
    if !yes && io::stdin().is_terminal() && io::stderr().is_terminal() {
        let question = match servers {
            [server] => format!("Remove {server} with its secret, from every Space?"),
            _ => format!("Remove {} integrations, from every Space?", servers.len()),
        };
        if !confirmed(yes, &question)? {
            return output.say("nothing was removed");
        }
    }
    // One that cannot be removed is no reason to keep the others.
    let mut first_failure = None;
    for server in servers {
        let removed = match server_id(client, server).await {
            Ok(id) => client.mcp_servers().delete(id).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match removed {
            Ok(()) => output.say(&format!("removed {server}"))?,
            Err(failure) => {
                let failure = failure.about(server);
                match failure.exit() {
                    Exit::NotFound => {
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

async fn test(client: &Client, server: &str, output: &Output) -> Result<(), Failure> {
    let id = server_id(client, server).await?;
    let request = client.mcp_servers().test(id);
    if output.is_json() {
        let data = request.raw().await?;
        let ok = data["ok"].as_bool().unwrap_or(false);
        output.json(&data)?;
        return if ok { Ok(()) } else { Err(Failure::told(Exit::Unavailable)) };
    }
    let result = request.await?;
    if let Some(error) = result.error {
        let message = format!("{server} cannot be used ({}): {}", error.code, error.message);
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let says = result.server_info.as_ref().map(describe);
    output.fields(&[
        ("health", Some(result.health.to_string())),
        ("took", Some(format!("{} ms", result.latency_ms))),
        ("server", says),
        ("protocol", result.server_info.map(|info| info.protocol_version)),
        ("tools", result.tool_count.map(|count| count.to_string())),
    ])
}

/// A server's name and version, as far as it tells.
fn describe(info: &types::McpServerInfo) -> String {
    let parts = [info.name.as_deref(), info.version.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
