//! `mcp config` and `mcp stdio`: Switchy in an MCP client.

mod bridge;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{
    args::{McpClient, OnBehalf},
    connection::{Connection, Place, mcp_url},
    failure::Failure,
    output::Output,
};

/// Names the member for whom calls are made.
const ACTOR: &str = "X-Switchy-Actor-User-Id";

/// What the server is called in a client.
const NAME: &str = "switchy";

/// The variable that clients take the key from.
const KEY_VARIABLE: &str = "SWITCHY_API_KEY";

/// The user id of the member for whom calls are made.
async fn actor(on_behalf: &OnBehalf, place: &Place) -> Result<Option<String>, Failure> {
    match on_behalf.actor.as_deref() {
        Some("me") => {
            let me = Connection::at(place.clone())?.client()?.me().await?;
            Ok(Some(me.user.id.clone()))
        }
        Some(id) => Ok(Some(id.to_owned())),
        None => Ok(None),
    }
}

/// Prints what to paste, and on standard error where.
pub async fn config(
    place: &Place,
    client: McpClient,
    with_key: bool,
    on_behalf: &OnBehalf,
    output: &Output,
) -> Result<(), Failure> {
    let actor = actor(on_behalf, place).await?;
    let key = match with_key {
        true => Some(Connection::at(place.clone())?.key().clone()),
        false => None,
    };
    let snippet = snippet(place, client, key.as_ref(), actor.as_deref());
    output.json(&snippet)?;
    if !output.is_json() {
        eprintln!("{}", advice(client, with_key));
    }
    Ok(())
}

fn snippet(
    place: &Place,
    client: McpClient,
    key: Option<&SecretString>,
    actor: Option<&str>,
) -> Value {
    let key = key.map(ExposeSecret::expose_secret);
    let headers = |reference: &str| {
        let mut headers =
            json!({ "Authorization": format!("Bearer {}", key.unwrap_or(reference)) });
        if let Some(actor) = actor {
            headers[ACTOR] = json!(actor);
        }
        headers
    };
    let url = mcp_url(&place.url);
    match client {
        McpClient::Claude => json!({ "mcpServers": { NAME: {
            "type": "http",
            "url": url,
            "headers": headers("${SWITCHY_API_KEY}"),
        } } }),
        McpClient::Cursor => json!({ "mcpServers": { NAME: {
            "url": url,
            "headers": headers("${env:SWITCHY_API_KEY}"),
        } } }),
        McpClient::Vscode => {
            let mut snippet = json!({ "servers": { NAME: {
                "type": "http",
                "url": url,
                "headers": headers("${input:switchy-api-key}"),
            } } });
            if key.is_none() {
                snippet["inputs"] = json!([{
                    "type": "promptString",
                    "id": "switchy-api-key",
                    "description": "Switchy API key",
                    "password": true,
                }]);
            }
            snippet
        }
        McpClient::ClaudeDesktop => {
            let mut arguments = vec!["mcp".to_owned(), "stdio".to_owned()];
            if let Some(profile) = place.profile.as_ref().filter(|_| place.told.is_none()) {
                arguments.extend(["--profile".to_owned(), profile.clone()]);
            } else {
                arguments.extend(["--url".to_owned(), place.url.clone()]);
            }
            if let Some(actor) = actor {
                arguments.extend(["--actor".to_owned(), actor.to_owned()]);
            }
            let mut server = json!({ "command": "switchy", "args": arguments });
            if let Some(key) = key {
                server["env"] = json!({ KEY_VARIABLE: key });
            }
            json!({ "mcpServers": { NAME: server } })
        }
    }
}

/// Where the snippet goes, and what else it takes.
fn advice(client: McpClient, with_key: bool) -> &'static str {
    match (client, with_key) {
        (McpClient::Claude, false) => {
            "paste this into .mcp.json of a project; the key is taken from SWITCHY_API_KEY"
        }
        (McpClient::Claude, true) => {
            "paste this into .mcp.json of a project, and keep that file to yourself: it holds the \
             key"
        }
        (McpClient::ClaudeDesktop, false) => {
            "paste this into claude_desktop_config.json; the key is taken from the CLI's profile"
        }
        (McpClient::ClaudeDesktop, true) => {
            "paste this into claude_desktop_config.json, and keep that file to yourself: it holds \
             the key"
        }
        (McpClient::Cursor, false) => {
            "paste this into ~/.cursor/mcp.json; the key is taken from SWITCHY_API_KEY"
        }
        (McpClient::Cursor, true) => {
            "paste this into ~/.cursor/mcp.json, and keep that file to yourself: it holds the key"
        }
        (McpClient::Vscode, false) => {
            "paste this into .vscode/mcp.json; Visual Studio Code asks for the key once"
        }
        (McpClient::Vscode, true) => {
            "paste this into .vscode/mcp.json, and keep that file to yourself: it holds the key"
        }
    }
}

/// Carries messages between standard input and output and the server, until the input ends.
pub async fn stdio(connection: Connection, on_behalf: &OnBehalf) -> Result<(), Failure> {
    let actor = match on_behalf.actor.as_deref() {
        Some("me") => Some(connection.client()?.me().await?.user.id.clone()),
        other => other.map(str::to_owned),
    };
    bridge::run(mcp_url(&connection.url), connection.key().clone(), actor).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            profile: Some("local".into()),
            url: "https://switchy.example/api".into(),
            told: None,
            key: None,
        }
    }

    #[test]
    fn a_key_is_written_only_where_it_is_asked_for() {
        let key = SecretString::from("sk_live_secret");
        for client in
            [McpClient::Claude, McpClient::ClaudeDesktop, McpClient::Cursor, McpClient::Vscode]
        {
            let without = snippet(&place(), client, None, Some("cmo5")).to_string();
            assert!(!without.contains("sk_live_"), "{without}");
            assert!(without.contains("cmo5"), "{without}");
            let with = snippet(&place(), client, Some(&key), None).to_string();
            assert!(with.contains("sk_live_secret") && !with.contains("${"), "{with}");
        }
    }
}
