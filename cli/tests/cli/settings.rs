//! Which server is asked, and with which key.

use wiremock::{
    Mock,
    matchers::{header, method, path},
};

use crate::{KEY, User, me, server, success};

const OTHER_KEY: &str = "sk_live_other";

/// A server that knows one key.
async fn server_of(key: &str) -> wiremock::MockServer {
    let server = server().await;
    Mock::given(method("GET"))
        .and(path("/api/me"))
        .and(header("authorization", format!("Bearer {key}")))
        .respond_with(success(200, &me()))
        .mount(&server)
        .await;
    server
}

fn profiles(url: &str, key: &str) -> String {
    format!(
        "current = \"a\"\n[profiles.a]\nurl = \"{url}/api\"\napi_key = \"{key}\"\n\
         [profiles.b]\nurl = \"http://127.0.0.1:9\"\napi_key = \"{OTHER_KEY}\"\n"
    )
}

#[tokio::test]
async fn the_current_profile_is_used() {
    let server = server_of(KEY).await;
    let user = User::new();
    user.write_config(&profiles(&server.uri(), KEY));
    let shown = user.run(&["whoami"]).await.ok().stdout;
    assert!(shown.contains("profile       a\n"), "{shown}");
}

#[tokio::test]
async fn the_option_wins_over_the_environment_and_both_over_the_current_profile() {
    let server = server_of(KEY).await;
    let user = User::new().with("SWITCHY_PROFILE", "b");
    user.write_config(&profiles(&server.uri(), KEY));
    assert_eq!(user.run(&["whoami"]).await.exit, 9, "b is out of reach");
    user.run(&["whoami", "--profile", "a"]).await.ok();
}

#[tokio::test]
async fn the_key_of_the_environment_wins_over_the_profile() {
    let server = server_of(OTHER_KEY).await;
    let user = User::new().with("SWITCHY_API_KEY", OTHER_KEY);
    user.write_config(&profiles(&server.uri(), KEY));
    user.run(&["whoami"]).await.ok();
}

#[tokio::test]
async fn the_key_of_a_profile_is_shown_to_no_other_server() {
    let (server, other) = (server_of(KEY).await, server_of(KEY).await);
    let user = User::new();
    user.write_config(&profiles(&server.uri(), KEY));
    user.run(&["whoami", "--url", &server.uri()]).await.ok();
    let refused = user.run(&["whoami", "--url", &other.uri()]).await;
    assert_eq!(refused.exit, 3, "{}", refused.stderr);
    assert!(other.received_requests().await.expect("recorded").is_empty());
}

#[tokio::test]
async fn without_a_key_the_way_to_one_is_shown() {
    let done = User::new().run(&["space", "list"]).await;
    assert_eq!(done.exit, 3);
    assert!(done.stderr.contains("switchy login"), "{}", done.stderr);
}

#[tokio::test]
async fn a_broken_configuration_is_not_quoted() {
    let user = User::new();
    user.write_config(&format!("[profiles.a]\napi_key = {KEY}\n"));
    let done = user.run(&["whoami"]).await;
    assert_eq!(done.exit, 1);
    assert!(done.stderr.contains("config.toml"), "{}", done.stderr);
    assert!(!done.stderr.contains(KEY), "{}", done.stderr);
}

#[tokio::test]
async fn profiles_are_listed_chosen_and_removed() {
    let user = User::new();
    user.write_config(&profiles("http://127.0.0.1:9", KEY));
    user.run(&["profile", "use", "b"]).await.ok();
    let listed = user.run(&["profile", "list", "--output", "json"]).await.ok();
    assert!(!listed.stdout.contains("sk_live"), "{}", listed.stdout);
    let profiles = listed.json();
    assert_eq!(profiles["profiles"][0]["current"], false);
    assert_eq!(profiles["profiles"][1]["current"], true);

    user.run(&["profile", "remove", "b"]).await.ok();
    assert_eq!(user.run(&["profile", "use", "b"]).await.exit, 2);
    user.run(&["logout", "--profile", "a"]).await.ok();
    let saved = std::fs::read_to_string(user.config()).expect("saved");
    assert!(saved.contains("profiles.a") && !saved.contains("sk_live"), "{saved}");
}
