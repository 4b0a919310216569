//! `login`.

use crate::{KEY, User, failure, me, serve, server, success};
use serde_json::json;

#[tokio::test]
async fn a_key_that_works_is_saved_for_its_owner_alone_and_never_shown() {
    let server = server().await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    let user = User::new();
    let login = ["login", "--url", &server.uri(), "--key-stdin"];
    let done = user.run_with_input(&login, &format!("{KEY}\n")).await.ok();
    assert!(done.stdout.contains("ada@example.com"), "{}", done.stdout);
    assert!(!format!("{}{}", done.stdout, done.stderr).contains("sk_live"));

    let saved = std::fs::read_to_string(user.config()).expect("saved");
    let expected = format!(
        "current = \"local\"\n\n[profiles.local]\nurl = \"{}/api\"\napi_key = \"{KEY}\"\n",
        server.uri()
    );
    assert_eq!(saved, expected);
    user.run(&["whoami"]).await.ok();
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_and_its_folder_are_private() {
    use std::os::unix::fs::PermissionsExt;

    let server = server().await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    let user = User::new();
    let login = ["login", "--url", &server.uri(), "--key-stdin"];
    user.run_with_input(&login, KEY).await.ok();
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    };
    assert_eq!(mode(&user.config()), 0o600);
    assert_eq!(mode(user.config().parent().expect("a folder")), 0o700);
}

#[tokio::test]
async fn a_key_that_does_not_work_is_not_saved() {
    let server = server().await;
    serve(&server, "GET", "/me", failure(401, "AUTH_ERROR", &json!({}))).await;
    let user = User::new();
    let login = ["login", "--url", &server.uri(), "--key-stdin"];
    let done = user.run_with_input(&login, KEY).await;
    assert_eq!(done.exit, 3);
    assert!(!done.stderr.contains("sk_live"), "{}", done.stderr);
    assert!(!user.config().exists());
}

#[tokio::test]
async fn without_a_terminal_there_is_nobody_to_ask() {
    let done = User::new().run(&["login"]).await;
    assert_eq!(done.exit, 2);
    assert!(done.stderr.contains("--key-stdin"), "{}", done.stderr);
}
