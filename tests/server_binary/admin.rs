//! `admin`: organizations, users and keys from the command line.

use super::stop;
use crate::fixture::binary::{Ended, Home, Serving, caller};
use crate::fixture::{Options, Server, embedders};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use switchy_server::store::quotas::{self, Quotas};

/// What `--output json` prints, in this order.
const KEYS: [&str; 7] =
    ["organizationId", "organizationSlug", "userId", "email", "role", "apiKey", "expiresAt"];

/// A server in this process, and the program beside it on the same database.
struct Team {
    server: Server,
    home: Home,
}

impl Team {
    async fn new() -> Team {
        let options = Options { embedder: embedders::none(), ..Options::default() };
        Team { server: Server::with(options).await, home: Home::new() }
    }

    fn admin(&self, arguments: &[&str]) -> Ended {
        let arguments = ["admin"].iter().chain(arguments);
        let url = self.server.database.expose_secret();
        Ended::of(self.home.server(arguments).env("DATABASE_URL", url))
    }

    fn made(&self, arguments: &[&str]) -> Value {
        self.admin(&[arguments, &["--output", "json"]].concat()).json()
    }

    /// Acme and its OWNER.
    fn bootstrap(&self) -> Value {
        self.made(&["bootstrap", "--org", "Acme Corp", "--email", "ada@acme.test"])
    }

    /// How many organizations, users, members and keys there are.
    async fn rows(&self) -> [i64; 4] {
        let sql = "SELECT (SELECT count(*) FROM orgs), (SELECT count(*) FROM users), \
                   (SELECT count(*) FROM members), (SELECT count(*) FROM api_keys)";
        let row = self.server.sql().await.query_one(sql, &[]).await.expect("counts");
        [0, 1, 2, 3].map(|column| row.get(column))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_printed_as_json_and_its_key_works() {
    let team = Team::new().await;
    let ada = team.bootstrap();
    assert_eq!(ada.as_object().expect("an object").keys().collect::<Vec<_>>(), KEYS);
    assert_eq!(ada["organizationSlug"], "acme-corp");
    assert_eq!(ada["email"], "ada@acme.test");
    assert_eq!(ada["role"], "OWNER");
    let me = caller(&team.server.url, text(&ada["apiKey"])).get("/me").await.data(200);
    assert_eq!(me["organization"]["id"], ada["organizationId"]);
    assert_eq!(me["organization"]["name"], "Acme Corp");
    assert_eq!(me["user"]["id"], ada["userId"]);
    assert_eq!(me["scopes"], json!(["*"]));

    for (email, role) in [("eve@acme.test", "member"), ("joe@acme.test", "Admin")] {
        let made =
            team.made(&["user", "add", "--org", "acme-corp", "--email", email, "--role", role]);
        assert_eq!(made.as_object().expect("an object").keys().collect::<Vec<_>>(), KEYS);
        assert_eq!(made["role"], role.to_uppercase());
        assert_eq!(made["organizationId"], ada["organizationId"]);
        let me = caller(&team.server.url, text(&made["apiKey"])).get("/me").await.data(200);
        assert_eq!(me["role"], role.to_uppercase());
        assert_eq!(me["user"]["email"], email);
    }

    // addresses differ by more than case
    let again = team.made(&["key", "create", "--org", "acme-corp", "--email", "ADA@acme.test"]);
    assert_eq!(again["userId"], ada["userId"]);
    assert_eq!(again["role"], "OWNER");
    assert_ne!(again["apiKey"], ada["apiKey"]);
    for key in [&ada["apiKey"], &again["apiKey"]] {
        caller(&team.server.url, text(key)).get("/me").await.data(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_printed_for_people() {
    let team = Team::new().await;
    let printed = team.admin(&["bootstrap", "--org", "Acme", "--email", "ada@acme.test"]).ok();
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].starts_with("Organization  acme (c"), "{printed}");
    assert!(lines[1].starts_with("User          ada@acme.test (c"), "{printed}");
    assert!(lines[1].ends_with(", OWNER"), "{printed}");
    let key = lines[2].strip_prefix("API key       ").expect(&printed);
    assert!(lines[3].contains("once"), "{printed}");
    caller(&team.server.url, key).get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_do_what_its_scopes_say_and_no_more() {
    let team = Team::new().await;
    team.bootstrap();
    let made = team.made(&[
        "key",
        "create",
        "--org",
        "acme-corp",
        "--email",
        "ada@acme.test",
        "--scope",
        "memory:read",
        "--scope",
        "spaces:read",
    ]);
    let reader = caller(&team.server.url, text(&made["apiKey"]));
    assert_eq!(reader.get("/me").await.data(200)["scopes"], json!(["memory:read", "spaces:read"]));
    reader.get("/memory").await.data(200);
    reader.get("/projects").await.data(200);
    let note = json!({ "content": "x", "visibility": "ORG" });
    reader.post("/memory", note).await.fails(403, "FORBIDDEN");
    reader.post("/projects", json!({ "name": "x" })).await.fails(403, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_in_a_sentence_and_leaves_nothing() {
    let team = Team::new().await;
    team.bootstrap();
    let before = team.rows().await;
    let new = "new@acme.test";
    let long = "x".repeat(101);
    let refused: [(&[&str], &str); 11] = [
        (&["bootstrap", "--org", "acme corp", "--email", new], "`acme-corp` exists already"),
        (&["bootstrap", "--org", "!?", "--email", new], "at least one letter or digit"),
        (&["bootstrap", "--org", &long, "--email", new], "1 to 100 characters"),
        (&["bootstrap", "--org", "Other", "--email", "nobody"], "must be an e-mail address"),
        (&["bootstrap", "--org", "Other", "--email", "a b@c"], "must be an e-mail address"),
        (
            &["user", "add", "--org", "acme-corp", "--email", "ADA@acme.test", "--role", "ADMIN"],
            "is a member of the organization already",
        ),
        (
            &["user", "add", "--org", "nowhere", "--email", new, "--role", "ADMIN"],
            "no organization has the slug `nowhere`",
        ),
        (
            &["user", "add", "--org", "acme-corp", "--email", "@", "--role", "ADMIN"],
            "must be an e-mail address",
        ),
        (
            &["key", "create", "--org", "acme-corp", "--email", new],
            "no user has the address new@acme.test",
        ),
        (
            &["key", "create", "--org", "nowhere", "--email", "ada@acme.test"],
            "no organization has the slug `nowhere`",
        ),
        (
            &[
                "key",
                "create",
                "--org",
                "acme-corp",
                "--email",
                "ada@acme.test",
                "--scope",
                "memory:read",
                "--scope",
                "memory:reed",
            ],
            "`memory:reed` is not a scope; the scopes are *, spaces:read,",
        ),
    ];
    for (arguments, sentence) in refused {
        let ended = team.admin(arguments);
        assert!(ended.sentence().contains(sentence), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert_eq!(team.rows().await, before, "{arguments:?}");
    }
    team.made(&["bootstrap", "--org", "Other", "--email", "eve@other.test"]);
    let stranger = ["key", "create", "--org", "acme-corp", "--email", "eve@other.test"];
    let ended = team.admin(&stranger);
    assert!(ended.sentence().contains("not a member of the organization"), "{ended:?}");
}

#[test]
fn wrong_arguments_are_refused_before_anything_happens() {
    let home = Home::new();
    let wrong: [&[&str]; 7] = [
        &[],
        &["admin"],
        &["admin", "bootstrap"],
        &["admin", "bootstrap", "--org", "Acme"],
        &["admin", "user", "add", "--org", "a", "--email", "a@b", "--role", "king"],
        &["admin", "key", "create", "--org", "a", "--email", "a@b", "--output", "xml"],
        &["admin", "key", "create", "--org", "a", "--email", "a@b", "--scopes", "*"],
    ];
    for arguments in wrong {
        let ended = Ended::of(&mut home.server(arguments));
        assert!(ended.usage().contains("--help"), "{arguments:?}: {ended:?}");
    }
    assert!(!home.data_dir().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_beside_a_running_server_and_without_one() {
    let home = Home::new();
    let admin = |arguments: &[&str]| {
        let arguments = ["admin"].iter().chain(arguments).chain(&["--output", "json"]);
        Ended::of(&mut home.server(arguments)).json()
    };
    // without: the database is made for it, and the first start then has nothing to make
    let ada = admin(&["bootstrap", "--org", "Acme", "--email", "ada@acme.test"]);
    let serving = Serving::start(&mut home.serve());
    let me = serving.caller(text(&ada["apiKey"])).get("/me").await.data(200);
    assert_eq!(me["organization"]["slug"], "acme");

    // beside
    let postgres = home.postgres_pid();
    let add = ["user", "add", "--org", "acme", "--email", "eve@acme.test", "--role", "MEMBER"];
    let eve = admin(&add);
    assert_eq!(home.postgres_pid(), postgres);
    serving.caller(text(&eve["apiKey"])).get("/me").await.data(200);
    assert_eq!(stop(serving, Signal::SIGTERM).ok(), "");
    assert!(!home.config_dir().exists());

    // without, again: what it starts, it stops
    let key = admin(&["key", "create", "--org", "acme", "--email", "eve@acme.test"]);
    assert!(!home.data_dir().join("postgres/postmaster.pid").exists());
    let serving = Serving::start(&mut home.serve());
    serving.caller(text(&key["apiKey"])).get("/me").await.data(200);
    assert_eq!(stop(serving, Signal::SIGTERM).ok(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_are_given_and_spent_by_the_operator_once_for_a_reference() {
    let team = Team::new().await;
    let ada = team.bootstrap();
    let credits = |arguments: &[&str]| {
        let all = [&["credits"], arguments, &["--org", "acme-corp", "--output", "json"]].concat();
        team.admin(&all)
    };
    let granted = ["grant", "--amount", "300", "--reference", "T-1", "--reason", "An outage"];
    let first = credits(&granted).json();
    assert_eq!((&first["balance"], &first["topupBalance"]), (&json!(800), &json!(300)));
    assert_eq!(first["changed"], true);
    let again = credits(&granted).json();
    assert_eq!((&again["balance"], &again["changed"]), (&json!(800), &json!(false)));
    let other = credits(&["grant", "--amount", "301", "--reference", "T-1"]);
    assert!(other.sentence().contains("another amount"), "{}", other.stderr);

    let spent = credits(&["spend", "--amount", "350", "--reference", "J-1"]).json();
    assert_eq!((&spent["balance"], &spent["topupBalance"]), (&json!(450), &json!(0)));
    let again = credits(&["spend", "--amount", "350", "--reference", "J-1"]).json();
    assert_eq!((&again["balance"], &again["changed"]), (&json!(450), &json!(false)));
    let poor = credits(&["spend", "--amount", "451", "--reference", "J-2"]);
    assert!(poor.sentence().contains("450 credits"), "{}", poor.stderr);

    // the API sees the same
    let owner = caller(&team.server.url, text(&ada["apiKey"]));
    let balance = owner.get("/billing/credits").await.data(200);
    assert_eq!(balance["balance"]["balance"], 450);
    let shown = credits(&["show", "--entries", "10"]).json();
    assert_eq!(shown["changed"], false);
    let entries = shown["entries"].as_array().expect("a list");
    let kinds: Vec<&str> = entries.iter().map(|entry| text(&entry["kind"])).collect();
    assert_eq!(kinds, ["spend", "adjustment", "allotment"], "newest first");
    assert_eq!(entries[1]["reason"], "An outage");
    let people = team.admin(&["credits", "show", "--org", "acme-corp"]).ok();
    assert!(people.contains("grant:T-1 (An outage)") && people.contains("-350"), "{people}");

    for (arguments, is_usage) in [
        (&["credits", "show", "--org", "nobody"][..], false),
        (&["credits", "grant", "--org", "acme-corp", "--amount", "1", "--reference", " "], false),
        (&["credits", "grant", "--org", "acme-corp", "--amount", "0", "--reference", "x"], true),
        (&["credits", "spend", "--org", "acme-corp", "--amount", "5"], true),
    ] {
        let refused = team.admin(arguments);
        let said = if is_usage { refused.usage() } else { refused.sentence() };
        assert!(!said.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_of_an_organization_are_shown_given_and_taken_back() {
    let team = Team::new().await;
    let ada = team.bootstrap();
    let defaults =
        Quotas { spaces: 10, member_spaces: 5, sessions: 20, notes: 30, bytes: 40, waiting: 50 };
    quotas::set_defaults(&team.server.store, &defaults).await.expect("defaults");
    let owner = caller(&team.server.url, text(&ada["apiKey"]));
    owner.space("Team").await;
    owner.note(json!({ "content": "abc", "visibility": "ORG" })).await;
    let quota = |arguments: &[&str]| {
        let all = [&["org", "quota", "--org", "acme-corp", "--output", "json"], arguments].concat();
        let report = team.admin(&all).json();
        assert_eq!(report["organizationId"], ada["organizationId"]);
        let lines = report["quotas"].as_array().expect("a list").clone();
        lines
            .into_iter()
            .map(|mut line| {
                let mut take = |name: &str| line[name].take();
                (text(&take("quota")).to_owned(), take("used"), take("most"), take("own"))
            })
            .collect::<Vec<_>>()
    };
    let line = |name: &str, used: i64, most: i64, own: bool| {
        (name.to_owned(), json!(used), json!(most), json!(own))
    };
    let before = vec![
        line("spaces", 1, 10, false),
        line("member_spaces", 0, 5, false),
        line("sessions", 0, 20, false),
        line("notes", 1, 30, false),
        line("bytes", 3, 40, false),
        line("waiting", 0, 50, false),
    ];
    assert_eq!(quota(&[]), before);
    let mut own = before.clone();
    own[3] = line("notes", 1, 1, true);
    own[4] = line("bytes", 3, 0, true);
    assert_eq!(quota(&["--notes", "1", "--bytes", "0"]), own);
    let note = json!({ "content": "x", "visibility": "ORG" });
    owner.post("/memory", note).await.fails(409, "CONFLICT");
    // what is not named stays
    own[0] = line("spaces", 1, 1, true);
    assert_eq!(quota(&["--spaces", "1"]), own);
    let people = team.admin(&["org", "quota", "--org", "acme-corp"]).ok();
    for said in
        ["notes         1 of 1 (its own)", "bytes         3 of unlimited", "member-spaces 0 of"]
    {
        assert!(people.contains(said), "{people}");
    }
    assert_eq!(quota(&["--default"]), before);
    let nobody = team.admin(&["org", "quota", "--org", "nobody"]);
    assert!(!nobody.sentence().is_empty());
    assert!(
        !team.admin(&["org", "quota", "--org", "acme-corp", "--notes", "-1"]).usage().is_empty()
    );
}
