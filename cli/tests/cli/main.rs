//! The command line as its users meet it: a process with arguments, an environment, and a server.

mod billing;
mod failures;
mod help;
mod import;
mod keys;
mod login;
mod output;
mod saved;
mod settings;
mod spaces;

use std::{
    ffi::OsStr,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

const KEY: &str = "sk_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";
const ID: &str = "cmo5w1c2t8zq4k7n3x9b6d0fh";
const NOW: &str = "2026-04-19T12:34:56.789Z";

/// A user of the command line, with a configuration of his own.
struct User {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command left behind.
struct Done {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl User {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder"), environment: Vec::new() }
    }

    /// Somebody with a key for this server in the environment.
    fn of(server: &MockServer) -> Self {
        Self::new().with("SWITCHY_URL", &server.uri()).with("SWITCHY_API_KEY", KEY)
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("switchy").join("config.toml")
    }

    fn write_config(&self, text: &str) {
        std::fs::create_dir_all(self.config().parent().expect("a folder")).expect("made");
        std::fs::write(self.config(), text).expect("written");
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchy"));
        for name in ["SWITCHY_URL", "SWITCHY_API_KEY", "SWITCHY_PROFILE", "NO_COLOR"] {
            command.env_remove(name);
        }
        let folder = self.config();
        command.env("SWITCHY_CONFIG_DIR", folder.parent().expect("a folder"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Done {
        self.run_with_input(arguments, "").await
    }

    /// Runs beside the runtime, whose threads answer the requests.
    async fn run_with_input(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        let input = input.to_string();
        let run = move || -> std::io::Result<Output> {
            let mut process = command.spawn()?;
            // A process that does not read its input may be gone by now.
            let _ = process.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
            process.wait_with_output()
        };
        let output = tokio::task::spawn_blocking(run).await.expect("no panic").expect("it runs");
        Done {
            exit: output.status.code().expect("not killed"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Done {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.exit, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).expect("nothing but JSON on standard output")
    }
}

async fn server() -> MockServer {
    MockServer::start().await
}

fn success(status: u16, data: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "success": true, "data": data, "metadata": { "timestamp": NOW, "requestId": "r-1" }
    }))
}

fn failure(status: u16, code: &str, details: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "success": false,
        "error": { "code": code, "message": format!("it was {code}"), "details": details },
        "metadata": { "timestamp": NOW, "requestId": "r-2" }
    }))
}

fn me() -> Value {
    json!({
        "key": { "id": ID, "name": "Laptop", "prefix": "sk_live_0123", "expiresAt": NOW },
        "user": { "id": ID, "email": "ada@example.com", "name": "Ada" },
        "organization": { "id": ID, "name": "Analytical Engines", "slug": "engines" },
        "role": "OWNER",
        "scopes": ["spaces:read"],
        "spaces": [{ "id": ID, "name": "Platform team", "slug": "platform-team", "role": "OWNER" }]
    })
}

fn note(content: &str) -> Value {
    json!({
        "id": ID, "organizationId": ID, "authorUserId": ID, "visibility": "PRIVATE",
        "content": content, "tags": ["deploys"], "createdAt": NOW, "spaceId": null
    })
}

async fn serve(server: &MockServer, verb: &str, route: &str, response: ResponseTemplate) {
    let mock = Mock::given(method(verb)).and(path(format!("/api{route}")));
    mock.respond_with(response).mount(server).await;
}
