//! Schemathesis asks the server everything that its document allows, and much that it does not: with
//! keys of three roles, all checks, in sequences too.
//!
//! `SCHEMATHESIS_ARGUMENTS` adds arguments, for example `--seed` with what was printed to repeat a
//! run, or `--phases` and `--include-operation-id` for a part of one.

#[path = "../fixture/mod.rs"]
mod fixture;

use fixture::python::packages;
use fixture::stripe::{SECRET, unconfigured};
use fixture::{Caller, Options, Server, embedders};
use secrecy::SecretString;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use switchy_server::auth::OrgRole;
use switchy_server::billing::BillingOptions;

/// Cases of all roles together, at least.
const CASES: u64 = 20_000;

/// An OWNER, an ADMIN and a MEMBER, each on a server of his own, so that nobody deletes what another
/// has just made, and there with the role in the Space that goes with it.
const ROLES: [(OrgRole, &str); 3] =
    [(OrgRole::Owner, "OWNER"), (OrgRole::Admin, "EDITOR"), (OrgRole::Member, "MEMBER")];

/// The names that the document's examples have: requests that are made from those find something.
const ORG: &str = "analytical-engines";
const SPACE: &str = "Platform team";
const SLUG: &str = "platform-team";
const SAVED_SESSION: &str = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";

/// How long a request may take: a machine that has much else to do must not make findings.
const PATIENCE: Duration = Duration::from_secs(900);

/// How likely an id is one that there is.
const PROBABILITY: f64 = 0.7;

/// The callers keep their keys and their places, whatever they do to themselves, and the Space that
/// their ids are of stays: everything after that would be refused for the same reason.
const KEEP: &str = "
    CREATE TABLE kept AS SELECT id FROM api_keys;
    INSERT INTO kept SELECT user_id FROM members;
    INSERT INTO kept SELECT id FROM spaces;
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF EXISTS (SELECT FROM kept WHERE id = to_jsonb(OLD) ->> TG_ARGV[0]) THEN
            RETURN NULL;
        END IF;
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END
    $$;
    CREATE TRIGGER a_keep BEFORE DELETE OR UPDATE OF role ON members
        FOR EACH ROW EXECUTE FUNCTION keep('user_id');
    CREATE TRIGGER a_keep BEFORE DELETE OR UPDATE OF role ON space_members
        FOR EACH ROW EXECUTE FUNCTION keep('user_id');
    CREATE TRIGGER a_keep BEFORE UPDATE OF revoked_at, digest ON api_keys
        FOR EACH ROW EXECUTE FUNCTION keep('id');
    CREATE TRIGGER a_keep BEFORE UPDATE OF archived_at ON spaces
        FOR EACH ROW EXECUTE FUNCTION keep('id');
";

fn id(of: &serde_json::Value) -> String {
    of["id"].as_str().expect("an id").to_owned()
}

/// What there is, by the names that parameters have.
async fn ids(
    server: &Server,
    role: OrgRole,
    space_role: &str,
) -> (Caller, Vec<(&'static str, String)>) {
    let org = server.org(ORG).await;
    let space = org.owner.space(SPACE).await;
    let caller = match role {
        OrgRole::Owner => org.owner.clone(),
        role => server.member(&org, "caller", role).await,
    };
    server.admit(&id(&space), &caller, space_role).await;
    let colleague = server.member(&org, "colleague", OrgRole::Member).await;
    server.admit(&id(&space), &colleague, "MEMBER").await;
    let note = caller.note(json!({ "content": "There is this.", "visibility": "ORG" })).await;
    let sessions = format!("/spaces/{SLUG}/sessions");
    let made = caller.post(&sessions, json!({ "name": "Upgrade" })).await;
    let session = id(&made.data(201)["session"]);
    let path = format!("{sessions}/{session}/messages");
    let message = caller.post(&path, json!({ "body": "Shall we?" })).await.data(201);
    let workspace = format!("/v1/org/{ORG}/ws/{SLUG}/sessions");
    let saved = json!({ "id": SAVED_SESSION, "model": "claude-sonnet-4-5" });
    caller.post(&workspace, saved).await.bare();
    let key = org.owner.post("/keys", json!({ "name": "spare", "scopes": ["*"] })).await;
    let ids = vec![
        ("orgId", org.id.to_string()),
        ("org", ORG.to_owned()),
        ("workspace", SLUG.to_owned()),
        ("session_id", SAVED_SESSION.to_owned()),
        ("slug", SLUG.to_owned()),
        ("projectId", id(&space)),
        ("sessionId", session),
        ("memoryId", id(&note)),
        ("messageId", id(&message["message"])),
        ("userId", colleague.user_id.to_string()),
        ("keyId", id(&key.data(201)["key"])),
    ];
    (caller, ids)
}

/// The settings of one run: those of all, and what there is for this caller.
fn settings(folder: &Path, caller: &Caller, ids: &[(&str, String)]) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
    let common = std::fs::read_to_string(here.join("schemathesis.toml")).expect("the settings");
    let key = caller.key.as_deref().expect("a key");
    let mut text = format!(
        "hooks = {:?}\nheaders = {{ Authorization = \"Bearer {key}\" }}\n{common}\n",
        here.join("hooks.py")
    );
    text.push_str("[parameters]\n");
    for (name, _) in ids {
        text.push_str(&format!(
            "\"path.{name}\" = {{ dictionary = \"{name}\", probability = {PROBABILITY} }}\n"
        ));
    }
    for (name, id) in ids {
        text.push_str(&format!("[dictionaries.{name}]\nvalues = [\"{id}\"]\n"));
    }
    let file = folder.join("schemathesis.toml");
    std::fs::write(&file, text).expect("written");
    file
}

fn run(folder: &Path, settings: &Path, url: &str) -> Child {
    let output = std::fs::File::create(folder.join("output.txt")).expect("a file");
    let mut command = Command::new("python3");
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(settings)
        .args(["run", "--checks", "all", "--no-color"])
        .arg(format!("{url}/openapi.json"))
        .env("PYTHONPATH", packages("schemathesis"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "*")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(output.try_clone().expect("the same file"))
        .stdout(output);
    if let Ok(more) = std::env::var("SCHEMATHESIS_ARGUMENTS") {
        command.args(more.split_whitespace());
    }
    command.spawn().expect("python3")
}

fn options() -> Options {
    let billing = BillingOptions {
        stripe_webhook_secret: Some(SecretString::from(SECRET)),
        ..unconfigured()
    };
    let (request_deadline, pool_timeout) = (PATIENCE, PATIENCE);
    Options {
        embedder: embedders::none(),
        billing,
        request_deadline,
        pool_timeout,
        ..Options::default()
    }
}

/// The number before ` generated` in what was printed.
fn generated(output: &str) -> u64 {
    let before = output.split(" generated").next().unwrap_or_default();
    let number = before.rsplit([' ', '\n']).next().unwrap_or_default();
    number.replace(',', "").parse().unwrap_or_else(|_| panic!("no number of cases: {output}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: run it by its name"]
async fn the_server_is_as_its_document_says_for_keys_of_three_roles() {
    let mut callers = Vec::new();
    for (role, space_role) in ROLES {
        let server = Server::with(options()).await;
        let (caller, ids) = ids(&server, role, space_role).await;
        server.sql().await.batch_execute(KEEP).await.expect("they stay");
        callers.push((role, server, caller, ids));
    }
    let mut runs: Vec<_> = callers
        .iter()
        .map(|(role, server, caller, ids)| {
            let folder = tempfile::tempdir().expect("a folder");
            let settings = settings(folder.path(), caller, ids);
            let child = run(folder.path(), &settings, &server.url);
            (role.as_str(), folder, child)
        })
        .collect();
    let mut cases = 0;
    let mut failed = Vec::new();
    for (role, folder, child) in &mut runs {
        let status = loop {
            if let Some(status) = child.try_wait().expect("a status") {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let output = std::fs::read_to_string(folder.path().join("output.txt")).expect("printed");
        // keys are hidden by Schemathesis itself
        let summary = output.split("= SUMMARY =").last().unwrap_or(&output);
        println!("{role}: {summary}");
        cases += generated(&output);
        if !status.success() {
            failed.push(format!("{role}: {output}"));
        }
    }
    println!("{cases} cases");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(cases >= CASES, "{cases} cases are too few");
}
