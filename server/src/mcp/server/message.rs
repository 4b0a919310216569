//! JSON-RPC messages as they come, before the protocol looks at them: which of them is a request,
//! what it is counted against, and how its answer is addressed.

use super::protocol::METHODS;
use crate::http::rpc::{Fault, code};
use crate::http::{body, json};
use crate::mcp::server::tools::Tool;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// Most messages of one batch.
pub const MAX_BATCH: usize = 20;

/// The only protocol version whose messages may come in batches (its predecessor knew no HTTP of
/// this kind, its successor took them back); it is also meant when the header is missing.
const BATCHES: &str = "2025-03-26";

/// The header that names the protocol's version.
pub const VERSION_HEADER: &str = "mcp-protocol-version";

/// Methods that the log names, besides those that are answered. Any other is unknown there: it may
/// be anything that somebody sends, also a key.
const NOTIFICATIONS: [&str; 4] = [
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
];

/// What a POST carries.
pub enum Incoming {
    /// A message.
    One(Message),
    /// Repeated.
    Batch(Vec<Result<Message, Unreadable>>),
}

/// What is no message, and the id under which that is said.
pub struct Unreadable {
    /// Why not.
    pub fault: Box<Fault>,
    /// The id; null when there is none.
    pub id: Value,
}

impl Unreadable {
    /// Without an id.
    pub fn of(fault: Fault) -> Self {
        Unreadable { fault: Box::new(fault), id: Value::Null }
    }
}

/// A message: a request, a notification, or an answer that nobody has asked for.
pub struct Message {
    /// `None`: a notification.
    id: Option<Value>,
    /// Empty for an answer.
    method: String,
    value: Value,
}

/// Takes a body apart.
pub async fn parse(bytes: Vec<u8>) -> Result<Incoming, Unreadable> {
    let document = body::parsed(bytes, json::document).await;
    let document = document.map_err(|error| Unreadable::of(Fault::of(&error)))?;
    take_apart(document.map_err(|unreadable| {
        let code = match unreadable {
            json::JsonError::Syntax(_) => code::PARSE_ERROR,
            json::JsonError::Refused(_) => code::INVALID_REQUEST,
        };
        let data = json!({ "code": "VALIDATION_ERROR" });
        Unreadable::of(Fault::new(StatusCode::BAD_REQUEST, code, unreadable.to_string(), data))
    })?)
}

fn take_apart(value: Value) -> Result<Incoming, Unreadable> {
    match value {
        // each would be answered
        Value::Array(messages) if messages.len() > MAX_BATCH => {
            let message = format!("a batch must have at most {MAX_BATCH} messages");
            Err(Unreadable::of(Fault::invalid_request(message)))
        }
        Value::Array(messages) => {
            Ok(Incoming::Batch(messages.into_iter().map(Message::read).collect()))
        }
        value => Message::read(value).map(Incoming::One),
    }
}

/// Whether these may come together.
pub fn batch_allowed(
    headers: &HeaderMap,
    messages: &[Result<Message, Unreadable>],
) -> Result<(), Box<Fault>> {
    let refused = |message: &str| Err(Box::new(Fault::invalid_request(message)));
    if headers.get(VERSION_HEADER).is_some_and(|version| version != BATCHES) {
        return refused("this version of the protocol has no batches: send one message at a time");
    }
    if messages.is_empty() {
        return refused("a batch must not be empty");
    }
    if messages.len() > MAX_BATCH {
        return refused(&format!("a batch must have at most {MAX_BATCH} messages"));
    }
    if messages.len() > 1 && messages.iter().flatten().any(|m| m.method == "initialize") {
        return refused("`initialize` must be sent alone");
    }
    Ok(())
}

impl Message {
    fn read(value: Value) -> Result<Self, Unreadable> {
        let id = value.get("id").filter(|id| id.is_string() || id.is_i64() || id.is_u64()).cloned();
        let refused = |message: &str| {
            let id = id.clone().unwrap_or_default();
            Err(Unreadable { fault: Box::new(Fault::invalid_request(message)), id })
        };
        let Some(fields) = value.as_object() else {
            return refused("a message must be a JSON object");
        };
        if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return refused("`jsonrpc` must be \"2.0\"");
        }
        if fields.contains_key("id") && id.is_none() && fields.contains_key("method") {
            return refused("`id` must be a text or a whole number");
        }
        let method = match fields.get("method") {
            None if fields.contains_key("result") || fields.contains_key("error") => String::new(),
            Some(Value::String(method)) if !method.is_empty() => method.clone(),
            _ => return refused("`method` must be a text"),
        };
        if fields.get("params").is_some_and(|params| !params.is_object()) {
            return refused("`params` must be an object");
        }
        Ok(Message { id, method, value })
    }

    /// The method; empty for an answer.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The id as an answer repeats it.
    pub fn id_or_null(&self) -> Value {
        self.id.clone().unwrap_or_default()
    }

    /// The message as it came.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The tool that is called, if there is such a tool.
    pub fn tool(&self) -> Option<Tool> {
        let name = self.value.pointer("/params/name").and_then(Value::as_str);
        name.filter(|_| self.method == "tools/call").and_then(Tool::named)
    }

    /// What is asked for, for the log.
    pub fn call(&self) -> String {
        let method = self.method.as_str();
        match (method, self.tool()) {
            ("", _) => "answer".to_owned(),
            (_, Some(tool)) => format!("{method} {}", tool.name()),
            ("tools/call", None) => "tools/call unknown tool".to_owned(),
            _ if METHODS.contains(&method) || NOTIFICATIONS.contains(&method) => method.to_owned(),
            _ => "unknown method".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn code_of(body: &str) -> (i32, Value) {
        match parse(body.into()).await {
            Err(unreadable) => (unreadable.fault.code, unreadable.id),
            Ok(_) => panic!("accepted: {body}"),
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_told_under_its_id() {
        assert_eq!(code_of("{").await, (code::PARSE_ERROR, Value::Null));
        for (body, id) in [
            ("1", Value::Null),
            (r#"{"method":"ping","id":1}"#, json!(1)),
            (r#"{"jsonrpc":"1.0","method":"ping","id":"a"}"#, json!("a")),
            (r#"{"jsonrpc":"2.0","id":7}"#, json!(7)),
            (r#"{"jsonrpc":"2.0","id":7,"method":3}"#, json!(7)),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Value::Null),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Value::Null),
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":[1]}"#, json!(7)),
        ] {
            assert_eq!(code_of(body).await, (code::INVALID_REQUEST, id), "{body}");
        }
    }

    #[tokio::test]
    async fn the_log_names_known_methods_and_tools_alone() {
        let call = async |method: &str, name: &str| {
            let body = json!({ "jsonrpc": "2.0", "method": method, "params": { "name": name } });
            match parse(body.to_string().into()).await {
                Ok(Incoming::One(message)) => message.call(),
                _ => panic!("no message: {body}"),
            }
        };
        for (method, name, shown) in [
            ("tools/call", "add_memory", "tools/call add_memory"),
            ("tools/call", "sk_live_x\u{1b}[2J", "tools/call unknown tool"),
            ("tools/list", "anything", "tools/list"),
            ("notifications/initialized", "", "notifications/initialized"),
            ("notifications/sk_live_x", "", "unknown method"),
            ("sk_live_x\nINFO all is well", "", "unknown method"),
        ] {
            assert_eq!(call(method, name).await, shown);
        }
    }

    #[tokio::test]
    async fn only_a_call_of_a_known_tool_names_one() {
        let tool = async |body: &str| match parse(body.into()).await {
            Ok(Incoming::One(message)) => message.tool(),
            _ => panic!("no message: {body}"),
        };
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"NAME"}}"#;
        assert_eq!(tool(&call.replace("NAME", "add_memory")).await, Some(Tool::AddMemory));
        assert_eq!(tool(&call.replace("NAME", "drop_table")).await, None);
        assert_eq!(
            tool(&call.replace("NAME", "add_memory").replace("tools/call", "x")).await,
            None
        );
    }
}
