//! From lines on standard input to the server, and back.
//!
//! A client that speaks over standard input sends no HTTP headers, so those that the protocol wants
//! are made here from what it says: the version that it has agreed on, and since 2026-07-28 what a
//! message is about.

use std::{
    io::{self, BufRead, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use super::ACTOR;
use crate::{
    failure::{Exit, Failure},
    output::json_text,
};

/// Messages that are under way at once.
const AT_ONCE: usize = 16;
/// Longest time that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The code of everything that JSON-RPC leaves to servers.
const SERVER_ERROR: i32 = -32_000;
/// The first version in which headers say what a message is about.
const STANDARD_HEADERS: &str = "2026-07-28";

struct Server {
    http: Client,
    url: String,
    key: SecretString,
    actor: Option<String>,
    /// The version of the last handshake.
    version: Mutex<Option<String>>,
}

/// Carries messages until the input ends, or nobody reads the output any more.
///
/// # Errors
///
/// When no HTTP client can be made. What fails later is told to the MCP client.
pub async fn run(url: String, key: SecretString, actor: Option<String>) -> Result<(), Failure> {
    let http = Client::builder()
        .timeout(TIMEOUT)
        // a key is for the server that was named
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|cause| Failure::new(Exit::Unexpected, format!("no HTTP client: {cause}")))?;
    let server = Arc::new(Server { http, url, key, actor, version: Mutex::default() });
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut lines = lines();
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                if line.trim().is_empty() {
                    continue;
                }
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
                let server = Arc::clone(&server);
                under_way.spawn(async move {
                    let answer = server.answer(&line).await;
                    drop(place);
                    answer
                });
            }
            Some(answer) = under_way.join_next() => say(answer.ok().flatten())?,
        }
    }
    while let Some(answer) = under_way.join_next().await {
        say(answer.ok().flatten())?;
    }
    Ok(())
}

/// One line for an answer, if there is one.
fn say(answer: Option<Value>) -> Result<(), Failure> {
    if let Some(answer) = answer {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", json_text(&answer.to_string()))?;
        stdout.flush()?;
    }
    Ok(())
}

/// The lines of standard input, read by a thread of its own: nothing has to wait for it to end.
fn lines() -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel(AT_ONCE);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut bytes = Vec::new();
        while stdin.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let line = String::from_utf8_lossy(&bytes).into_owned();
            if send.blocking_send(line).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    receive
}

impl Server {
    /// What the server says to a line; `None` when it has nothing to say.
    async fn answer(&self, line: &str) -> Option<Value> {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        let request = self.request(line, &message);
        let id = message.get("id").cloned();
        let failed = |what: String| {
            // nobody waits for the answer to a notification
            id.as_ref().map(|id| {
                let error = json!({ "code": SERVER_ERROR, "message": what });
                json!({ "jsonrpc": "2.0", "id": id, "error": error })
            })
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let url = &self.url;
                return failed(format!("the server at {url} is out of reach: {}", told(&error)));
            }
        };
        let status = response.status();
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return failed(format!("the answer broke off: {}", told(&error))),
        };
        if status == StatusCode::ACCEPTED {
            return None;
        }
        match serde_json::from_str::<Value>(&text) {
            Ok(answer) if answer.is_array() || answer["jsonrpc"] == "2.0" => {
                if let Some(version) = answer["result"]["protocolVersion"].as_str()
                    && message["method"] == "initialize"
                {
                    let mut known = self.version.lock().unwrap_or_else(PoisonError::into_inner);
                    *known = Some(version.to_owned());
                }
                Some(answer)
            }
            _ => failed(format!("{} is no MCP server: it answered {status}", self.url)),
        }
    }

    /// The message as a POST, with the headers that go with it.
    fn request(&self, line: &str, message: &Value) -> RequestBuilder {
        let mut request = self
            .http
            .post(&self.url)
            .bearer_auth(self.key.expose_secret())
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream");
        if let Some(actor) = &self.actor {
            request = request.header(ACTOR, actor);
        }
        let method = message["method"].as_str().unwrap_or_default();
        let meta = &message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
        let agreed = || self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let version = meta.as_str().map(str::to_owned).or_else(agreed);
        if let Some(version) = version.filter(|_| method != "initialize") {
            if version.as_str() >= STANDARD_HEADERS && !method.is_empty() {
                request = request.header("Mcp-Method", header_value(method));
                let name = &message["params"];
                let name = name["name"].as_str().or(name["uri"].as_str());
                if let Some(name) = name.filter(|_| !method.starts_with("notifications/")) {
                    request = request.header("Mcp-Name", header_value(name));
                }
            }
            request = request.header("MCP-Protocol-Version", version);
        }
        request.body(line.to_owned())
    }
}

/// A text as a header's value: what is more than visible ASCII is encoded, as the protocol wants it.
fn header_value(text: &str) -> String {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        && text.trim() == text
        && !text.starts_with("=?base64?");
    if plain { text.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(text)) }
}

/// The innermost cause, which is the one that helps.
fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
