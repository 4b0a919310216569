//! `DATABASE_URL`: a PostgreSQL that somebody else runs.

use super::stop;
use crate::fixture::binary::{Ended, Home, Serving};
use crate::fixture::cluster::{cluster, connect_to};
use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::process::Command;

/// `serve` on that database.
fn serve(home: &Home, database: &SecretString) -> Command {
    let mut command = home.serve();
    command.env_remove("SWITCHY_DATA_DIR").env("DATABASE_URL", database.expose_secret());
    command
}

/// Makes an organization there; returns its OWNER's key.
fn bootstrap(home: &Home, database: &SecretString, org: &str) -> String {
    let arguments =
        ["admin", "bootstrap", "--org", org, "--email", "ada@acme.test", "--output", "json"];
    let mut command = home.server(arguments);
    let made: Value = Ended::of(command.env("DATABASE_URL", database.expose_secret())).json();
    made["apiKey"].as_str().expect("a key").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_migrated_and_nobody_is_made_in_it() {
    let home = Home::new();
    let database = cluster().empty_database().await;
    let serving = Serving::start(&mut serve(&home, &database));
    let sql = "SELECT (SELECT count(*) FROM orgs) + (SELECT count(*) FROM api_keys)";
    let rows = connect_to(&database).await.query_one(sql, &[]).await.expect("a schema");
    assert_eq!(rows.get::<_, i64>(0), 0);

    let key = bootstrap(&home, &database, "Acme");
    serving.caller(&key).get("/me").await.data(200);
    assert_eq!(stop(serving, Signal::SIGTERM).ok(), "");
    assert!(!home.config_dir().exists() && !home.data_dir().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_start_at_once_on_one_database_and_share_its_keys() {
    let home = Home::new();
    let database = cluster().empty_database().await;
    let start = || {
        let mut command = serve(&home, &database);
        std::thread::spawn(move || Serving::start(&mut command))
    };
    let servers = [start(), start()].map(|thread| thread.join().expect("a server"));
    let key = bootstrap(&home, &database, "Acme");
    let [first, second] = servers.each_ref().map(|serving| serving.caller(&key));
    let note = first.note(json!({ "content": "seen by both", "visibility": "ORG" })).await;
    let notes = second.get("/memory").await.data(200);
    assert_eq!(notes["memories"][0]["id"], note["id"]);
    for serving in servers {
        stop(serving, Signal::SIGTERM).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_secret_key_is_refused() {
    let home = Home::new();
    let sentence = |command: &mut Command| {
        let ended = Ended::of(command);
        assert!(!ended.everything().contains("a secret of"), "{ended:?}");
        ended.sentence().to_owned()
    };
    let database = cluster().empty_database().await;
    let with = |secret: &str| {
        let mut command = serve(&home, &database);
        command.env("SWITCHY_SECRET_KEY", secret);
        command
    };
    let ours = "a secret of ours that is long enough";
    let first = Serving::start(&mut with(ours));
    let second = Serving::start(&mut with(ours));
    let others = "a secret of others that is long enough";
    for secret in [others, ""] {
        let said = sentence(&mut with(secret));
        assert!(said.contains("another SWITCHY_SECRET_KEY"), "{said}");
    }
    stop(first, Signal::SIGTERM).ok();
    stop(second, Signal::SIGTERM).ok();

    let database = cluster().empty_database().await;
    stop(Serving::start(&mut serve(&home, &database)), Signal::SIGTERM).ok();
    let said = sentence(serve(&home, &database).env("SWITCHY_SECRET_KEY", others));
    assert!(said.contains("without any, if it was never set"), "{said}");
}

#[test]
fn a_database_that_cannot_be_is_refused_without_its_password() {
    let home = Home::new();
    let refused = [
        ("mysql://ada:hunter2@localhost/switchy", "must begin with postgres://"),
        ("hunter2", "must begin with postgres://"),
        ("postgres://ada:hunter2@localhost:port/switchy", "expected postgres://USER:PASSWORD"),
        ("postgres://ada:hunter2@localhost/s?sslmode=maybe", "`maybe` is not an sslmode"),
        ("postgres://ada:hunter2@127.0.0.1:1/switchy", "cannot connect to PostgreSQL"),
        ("postgres://ada:hunter2@nowhere.invalid/switchy", "cannot connect to PostgreSQL"),
    ];
    for (url, sentence) in refused {
        for arguments in [&["serve", "--lexical-only"][..], &["migrate"]] {
            let ended = Ended::of(home.server(arguments).env("DATABASE_URL", url));
            assert!(ended.sentence().contains(sentence), "{url}: {ended:?}");
            assert!(ended.sentence().contains("DATABASE_URL"), "{url}: {ended:?}");
            assert!(!ended.everything().contains("hunter2"), "{ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_or_user_that_does_not_exist_is_named() {
    let home = Home::new();
    let database = cluster().empty_database().await;
    let url = database.expose_secret();
    let user = url.replace("switchy@", "nobody_we_know:hunter2@");
    let (before, after) = url.split_once("?host=").expect("a socket");
    let missing = format!("{before}_missing?host={after}");
    for (url, said) in [(user, "nobody_we_know"), (missing, "_missing")] {
        let ended = Ended::of(home.server(["migrate"]).env("DATABASE_URL", &url));
        assert!(ended.sentence().contains(said), "{ended:?}");
        assert!(!ended.everything().contains("hunter2"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_data_folder_is_guarded_even_when_the_database_is_elsewhere() {
    let home = Home::new();
    let database = cluster().empty_database().await;
    let with_folder = || {
        let mut command = home.serve();
        command.env("DATABASE_URL", database.expose_secret());
        command
    };
    let first = Serving::start(&mut with_folder());
    let second = Ended::of(&mut with_folder());
    assert!(second.sentence().contains("is in use"), "{second:?}");
    stop(first, Signal::SIGTERM).ok();
}

#[tokio::test]
async fn messages_are_english_whatever_the_database_is_set_to() {
    use switchy_server::store::{Store, StoreConfig, requirements};
    let database = cluster().empty_database().await;
    let connection = connect_to(&database).await;
    let name: String =
        connection.query_one("SELECT current_database()", &[]).await.expect("a name").get(0);
    let sql = format!("ALTER DATABASE \"{name}\" SET lc_messages = 'C.UTF-8'");
    connection.batch_execute(&sql).await.expect("set");
    let language = async |sql: &str| -> String {
        connect_to(&database).await.query_one(sql, &[]).await.expect("a setting").get(0)
    };
    assert_eq!(language("SHOW lc_messages").await, "C.UTF-8");
    requirements::check(&database).await.expect("suitable");
    let store = Store::connect(&StoreConfig {
        url: database.clone(),
        pool_size: 1,
        checkout_timeout: std::time::Duration::from_secs(10),
        statement_timeout: std::time::Duration::from_secs(10),
        clock: switchy_server::clock::Clock::Database,
    })
    .await
    .expect("a store");
    #[derive(diesel::QueryableByName)]
    struct Setting {
        #[diesel(sql_type = diesel::sql_types::Text)]
        language: String,
    }
    use diesel_async::RunQueryDsl;
    let mut connection = store.connection().await.expect("a connection");
    let found: Setting = diesel::sql_query("SELECT current_setting('lc_messages') AS language")
        .get_result(&mut connection)
        .await
        .expect("a setting");
    assert_eq!(found.language, "C");
}
