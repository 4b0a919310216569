//! Other people's clients: the official SDK's, which validates every result against the tool's
//! schema; the inspector; and any that speaks over standard input and output.

use super::{each, session, start};
use crate::fixture::binary::{Ended, Home};
use crate::fixture::mcp::{MCP_SCOPES, Mcp};
use crate::fixture::python::run;
use crate::fixture::{Answer, Caller, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// A key of the caller's for everything.
async fn key(server: &Server, caller: &Caller) -> String {
    let scopes = [&MCP_SCOPES[..], &["act_on_behalf"]].concat();
    server.key_for(caller, &scopes).await.key.expect("a key")
}

/// Lists everything and calls every tool, as `python3 mcp_client.py` does it.
fn through_the_sdk(url: &str, mode: &str, wanted: &Value) -> Value {
    let said = run("mcp_client", &[url, mode], &wanted.to_string());
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_lists_and_calls_every_tool() {
    let (server, org, mcp) = start().await;
    org.owner.space("Team").await;
    let session = session(&org.owner, "team", "Upgrade").await;
    let key = key(&server, &org.owner).await;
    for (mode, version) in
        [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")]
    {
        let note = format!("Tea is at four ({mode}).");
        let wanted = json!({
            "headers": {
                "Authorization": format!("Bearer {key}"),
                "X-Switchy-Actor-User-Id": org.owner.user_id,
            },
            "calls": [
                ["add_memory", { "content": note, "visibility": "PRIVATE" }, { "idempotencyKey": mode }],
                ["add_memory", { "content": note, "visibility": "PRIVATE" }, { "idempotencyKey": mode }],
                ["search_memory", { "query": format!("tea {mode}"), "limit": 1 }, null],
                ["list_spaces", {}, null],
                ["get_space", { "slug": "team" }, null],
                ["list_sessions", { "spaceSlug": "team" }, null],
                ["post_message", { "sessionId": session, "content": mode }, null],
                ["get_session_transcript", { "sessionId": session, "limit": 1 }, null],
                ["get_space", { "slug": "none" }, null],
                ["search_memory", { "query": "" }, null],
            ],
            "resources": ["switchy://spaces/team", "switchy://spaces/none"],
            "prompts": [["recall", { "query": "tea" }]],
        });
        let url = mcp.url();
        let said = tokio::task::spawn_blocking(move || through_the_sdk(&url, mode, &wanted));
        let said = said.await.expect("it ran");
        assert_eq!(said["version"], version, "{mode}");
        assert_eq!(said["tools"].as_array().map(Vec::len), Some(7), "{mode}");
        assert_eq!(each(&said["prompts"], "name"), ["recall"]);
        assert_eq!(said["templates"].as_array().map(Vec::len), Some(2));
        let calls = said["calls"].as_array().expect("calls");
        let structured = |i: usize| &calls[i]["structuredContent"];
        for (i, call) in calls[..8].iter().enumerate() {
            assert!(call["structuredContent"].is_object(), "{mode}: {i}: {call}");
        }
        assert_eq!(structured(0)["memory"]["content"], *note);
        assert_eq!(structured(1)["memory"]["id"], structured(0)["memory"]["id"], "repeated");
        assert_eq!(structured(2)["memories"][0]["content"], *note, "{mode}");
        assert_eq!(each(&structured(3)["spaces"], "slug"), ["team"]);
        assert_eq!(structured(4)["space"]["role"], "OWNER");
        assert_eq!(each(&structured(5)["sessions"], "title"), ["Upgrade"]);
        assert_eq!(structured(6)["message"]["content"], mode);
        assert_eq!(each(&structured(7)["messages"], "content"), [mode]);
        assert_eq!(calls[8]["error"]["message"], "no such Space", "{mode}");
        assert_eq!(calls[8]["error"]["data"]["code"], "NOT_FOUND", "{mode}");
        assert_eq!(calls[9]["error"]["code"], -32_602, "{mode}");
        assert!(said["read"][0]["contents"][0]["text"].is_string(), "{mode}");
        assert!(said["read"][1]["error"].is_object(), "{mode}");
        assert!(said["prompted"][0]["messages"].as_array().is_some_and(|m| m.len() > 1), "{mode}");
    }
}

/// `mcp-inspector --cli`, where the variable `MCP_INSPECTOR` says it is.
struct Inspector {
    program: String,
    home: tempfile::TempDir,
    mcp: Mcp,
    headers: Vec<String>,
}

impl Inspector {
    async fn ask(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(&self.program);
        command
            .args(["--cli", &self.mcp.url(), "--transport", "http"])
            .args(arguments)
            // of several values each, so at the end
            .arg("--header")
            .args(&self.headers)
            .env("HOME", self.home.path())
            .env("MCP_CATALOG_PATH", self.home.path().join("mcp.json"))
            .stdin(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || Ended::of(&mut command));
        let ended = ended.await.expect("it ran");
        let said = ended.ok();
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"))
    }

    async fn call(&self, tool: &str, arguments: &[&str]) -> Value {
        let mut all = vec!["--method", "tools/call", "--tool-name", tool];
        if !arguments.is_empty() {
            all.push("--tool-arg");
            all.extend(arguments);
        }
        self.ask(&all).await["structuredContent"].take()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the inspector: MCP_INSPECTOR names its program"]
async fn the_inspector_lists_and_calls_every_tool() {
    let program = std::env::var("MCP_INSPECTOR").expect("MCP_INSPECTOR");
    let (server, org, mcp) = start().await;
    org.owner.space("Team").await;
    let id = session(&org.owner, "team", "Upgrade").await;
    let headers = vec![
        format!("Authorization: Bearer {}", key(&server, &org.owner).await),
        format!("X-Switchy-Actor-User-Id: {}", org.owner.user_id),
    ];
    let home = tempfile::tempdir().expect("a folder");
    let inspector = Inspector { program, home, mcp, headers };
    // `--strict` fails when a schema is one that some clients cannot read
    let listed = inspector.ask(&["--method", "tools/list", "--strict"]).await;
    assert_eq!(listed["tools"].as_array().map(Vec::len), Some(7));

    let content = "content=Tea is at four.";
    let written = inspector.call("add_memory", &[content, "visibility=PRIVATE"]).await;
    assert_eq!(written["memory"]["content"], "Tea is at four.");
    let found = inspector.call("search_memory", &["query=tea", "limit=1"]).await;
    assert_eq!(each(&found["memories"], "content"), ["Tea is at four."]);
    let spaces = inspector.call("list_spaces", &[]).await;
    assert_eq!(each(&spaces["spaces"], "slug"), ["team"]);
    let space = inspector.call("get_space", &["slug=team"]).await;
    assert_eq!(space["space"]["role"], "OWNER");
    let sessions = inspector.call("list_sessions", &["spaceSlug=team"]).await;
    assert_eq!(each(&sessions["sessions"], "id"), [&*id]);
    let of = format!("sessionId={id}");
    let posted = inspector.call("post_message", &[&of, "content=hello"]).await;
    assert_eq!(posted["message"]["content"], "hello");
    let said = inspector.call("get_session_transcript", &[&of]).await;
    assert_eq!(each(&said["messages"], "content"), ["hello"]);

    let resources = inspector.ask(&["--method", "resources/list"]).await;
    assert_eq!(resources["resources"].as_array().map(Vec::len), Some(2));
    let templates = inspector.ask(&["--method", "resources/templates/list"]).await;
    assert_eq!(templates["resourceTemplates"].as_array().map(Vec::len), Some(2));
    let uri = ["--method", "resources/read", "--uri", "switchy://spaces/team"];
    assert!(inspector.ask(&uri).await["contents"][0]["text"].is_string());
    let prompts = inspector.ask(&["--method", "prompts/list"]).await;
    assert_eq!(each(&prompts["prompts"], "name"), ["recall"]);
    let recall =
        ["--method", "prompts/get", "--prompt-name", "recall", "--prompt-args", "query=tea"];
    assert_eq!(inspector.ask(&recall).await["messages"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_http_is_connected_by_the_command_line() {
    let (server, org, _mcp) = start().await;
    let home = Home::new();
    let mut command = home.cli(["mcp", "stdio", "--actor", org.owner.user_id.as_str()]);
    command
        .env("SWITCHY_URL", &server.url)
        .env("SWITCHY_API_KEY", key(&server, &org.owner).await)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let exchange = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("it starts");
        let mut to = child.stdin.take().expect("a pipe");
        let mut from = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut say = |message: &str| writeln!(to, "{message}").expect("written");
        let mut hear = || -> Value {
            let line = from.next().expect("a line").expect("text");
            serde_json::from_str(&line).expect("JSON")
        };
        let mut heard = Vec::new();
        say(
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        );
        heard.push(hear());
        say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        say("");
        say(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_memory","arguments":{"content":"Tea is at four.\nIn the kitchen.","visibility":"PRIVATE"}}}"#,
        );
        heard.push(hear());
        // the version of a message goes before that of the handshake
        say(
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"search_memory","arguments":{"query":"tea"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#,
        );
        heard.push(hear());
        say("this is no JSON");
        heard.push(hear());
        say(
            r#"{"jsonrpc":"2.0","id":3,"method":"resources/read","params":{"uri":"switchy://spaces/größe","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#,
        );
        heard.push(hear());
        drop(to);
        (heard, child.wait().expect("it ends"))
    });
    let (heard, status) = exchange.await.expect("it ran");
    assert!(status.success());
    assert_eq!(heard[0]["result"]["protocolVersion"], "2025-06-18");
    let note = &heard[1]["result"]["structuredContent"]["memory"];
    assert_eq!(note["content"], "Tea is at four.\nIn the kitchen.");
    assert_eq!(heard[2]["result"]["structuredContent"]["memories"][0]["id"], note["id"]);
    assert_eq!((&heard[3]["id"], &heard[3]["error"]["code"]), (&Value::Null, &json!(-32_700)));
    // its name is not ASCII, and arrives all the same
    assert_eq!(
        (&heard[4]["id"], &heard[4]["error"]["message"]),
        (&json!(3), &json!("no such resource"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_when_the_server_is_not_there() {
    let home = Home::new();
    let mut command = home.cli(["mcp", "stdio"]);
    command
        .env("SWITCHY_URL", "http://127.0.0.1:1")
        .env("SWITCHY_API_KEY", "sk_live_x")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let ping = b"{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n";
    child.stdin.take().expect("a pipe").write_all(ping).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["id"], "p");
    let message = answer["error"]["message"].as_str().expect("a message");
    assert!(message.contains("http://127.0.0.1:1/mcp/rpc is out of reach"), "{message}");
    assert!(output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_config_prints_works() {
    let (server, org, _mcp) = start().await;
    let home = Home::new();
    let key = key(&server, &org.owner).await;
    let all = server.key_for(&org.owner, &["*"]).await.key.expect("a key");
    let print = |key: &str, arguments: &[&str]| {
        let mut command = home.cli([&["mcp", "config"], arguments].concat());
        command.env("SWITCHY_URL", &server.url).env("SWITCHY_API_KEY", key);
        async move {
            tokio::task::spawn_blocking(move || Ended::of(&mut command)).await.expect("it ran")
        }
    };
    for (client, place) in
        [("claude", "mcpServers"), ("cursor", "mcpServers"), ("vscode", "servers")]
    {
        let snippet = print(&key, &["--client", client, "--with-key"]).await.json();
        let entry = &snippet[place]["switchy"];
        let header = entry["headers"]["Authorization"].as_str().expect("a header");
        let listing = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        let url = entry["url"].as_str().expect("a URL");
        let request = org.owner.http.post(url).header("Authorization", header).json(&listing);
        let listed = Answer::of(request).await.result();
        assert_eq!(listed["tools"].as_array().map(Vec::len), Some(7), "{client}");
        let plain = print("", &["--client", client]).await.json();
        let reference = plain[place]["switchy"]["headers"]["Authorization"].as_str();
        assert!(reference.is_some_and(|r| r.starts_with("Bearer ${")), "{client}");
    }
    // who `me` is, the REST API tells
    let desktop =
        print(&all, &["--client", "claude-desktop", "--actor", "me", "--with-key"]).await.json();
    let entry = &desktop["mcpServers"]["switchy"];
    let arguments: Vec<&str> =
        entry["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
    assert_eq!(&arguments[..2], ["mcp", "stdio"]);
    assert!(arguments.contains(&org.owner.user_id.as_str()), "{arguments:?}");
    assert_eq!(entry["env"]["SWITCHY_API_KEY"], all);
}
