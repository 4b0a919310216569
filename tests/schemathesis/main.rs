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
use switchy_server::auth::OrgRole;
use switchy_server::billing::BillingOptions;

/// Cases of all roles together, at least.
const CASES: u64 = 20_000;

/// An OWNER, an ADMIN and a MEMBER, each in an organization of his own and there with the role in
/// the Space `team` that goes with it.
const ROLES: [(OrgRole, &str); 3] =
    [(OrgRole::Owner, "OWNER"), (OrgRole::Admin, "EDITOR"), (OrgRole::Member, "MEMBER")];

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
    let org = server.org(&format!("org-{}", role.as_str().to_lowercase())).await;
    let space = org.owner.space("Team").await;
    let caller = match role {
        OrgRole::Owner => org.owner.clone(),
        role => server.member(&org, "caller", role).await,
    };
    server.admit(&id(&space), &caller, space_role).await;
    let colleague = server.member(&org, "colleague", OrgRole::Member).await;
    server.admit(&id(&space), &colleague, "MEMBER").await;
    let note = caller.note(json!({ "content": "There is this.", "visibility": "ORG" })).await;
    let made = caller.post("/spaces/team/sessions", json!({ "name": "Upgrade" })).await;
    let session = id(&made.data(201)["session"]);
    let path = format!("/spaces/team/sessions/{session}/messages");
    let message = caller.post(&path, json!({ "body": "Shall we?" })).await.data(201);
    let key = org.owner.post("/keys", json!({ "name": "spare", "scopes": ["*"] })).await;
    let ids = vec![
        ("orgId", org.id.to_string()),
        ("slug", "team".to_owned()),
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
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/schemathesis.toml");
    let common = std::fs::read_to_string(common).expect("the settings");
    let key = caller.key.as_deref().expect("a key");
    let mut text = format!("headers = {{ Authorization = \"Bearer {key}\" }}\n{common}\n");
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

/// The number before ` generated` in what was printed.
fn generated(output: &str) -> u64 {
    let before = output.split(" generated").next().unwrap_or_default();
    let number = before.rsplit([' ', '\n']).next().unwrap_or_default();
    number.replace(',', "").parse().unwrap_or_else(|_| panic!("no number of cases: {output}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: run it by its name"]
async fn the_server_is_as_its_document_says_for_keys_of_three_roles() {
    let billing = BillingOptions {
        stripe_webhook_secret: Some(SecretString::from(SECRET)),
        ..unconfigured()
    };
    let options =
        Options { embedder: embedders::none(), billing, pool_size: 16, ..Options::default() };
    let server = Server::with(options).await;
    let mut callers = Vec::new();
    for (role, space_role) in ROLES {
        callers.push((role, ids(&server, role, space_role).await));
    }
    server.sql().await.batch_execute(KEEP).await.expect("they stay");
    let mut runs: Vec<_> = callers
        .iter()
        .map(|(role, (caller, ids))| {
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
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
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
    drop(server);
}
