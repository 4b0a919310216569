//! What is printed, for people and for programs.

use std::io::Read;

use serde_json::json;

use crate::{ID, NOW, User, me, note, serve, server, success};

#[tokio::test]
async fn json_is_the_data_as_the_server_sent_it_and_nothing_else() {
    let server = server().await;
    let page = json!({ "memories": [note("x")], "total": 1, "newer": { "field": null } });
    serve(&server, "GET", "/memory", success(200, &page)).await;
    let done = User::of(&server).run(&["memory", "list", "-o", "json"]).await.ok();
    assert_eq!(done.json(), page);
    assert!(done.stderr.is_empty(), "{}", done.stderr);
}

#[tokio::test]
async fn a_found_note_tells_its_score_visibility_author_date_and_content() {
    let server = server().await;
    let found = json!({ "results": [{ "memory": note("x\u{1b}[2Jy"), "score": 0.8765, "highlights": [] }] });
    let found = json!({ "results": found["results"], "degraded": false });
    serve(&server, "POST", "/memory/search", success(200, &found)).await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    let done = User::of(&server).run(&["memory", "search", "x"]).await.ok();
    let expected =
        format!("0.88  PRIVATE  you  2026-04-19 12:34Z  #deploys  {ID}\n  x\u{fffd}[2Jy\n\n");
    assert_eq!(done.stdout, expected);
}

/// Drives a terminal (ESC, C1, DEL), ends a line, and turns the direction of what follows.
const ACTING: &str = "a\u{1b}[2J\u{9b}31m\u{7f}\u{85}b\u{202e}c\u{2066}d\u{200f}\u{2028}e";

fn acts(letter: &char) -> bool {
    letter.is_control() && *letter != '\n'
        || ('\u{2028}'..='\u{202e}').contains(letter)
        || ('\u{2066}'..='\u{2069}').contains(letter)
        || "\u{61c}\u{200e}\u{200f}".contains(*letter)
}

#[tokio::test]
async fn nothing_of_others_acts_in_a_terminal_in_either_format() {
    let server = server().await;
    let page = json!({ "memories": [note(ACTING)], "total": 1, ACTING: ACTING });
    serve(&server, "GET", "/memory", success(200, &page)).await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    let space = json!({
        "id": ID, "slug": "a", "name": ACTING, "organizationId": ID, "tags": [], "createdAt": NOW
    });
    let spaces = json!({ "projects": [space], "page": 1, "limit": 20, "total": 1 });
    serve(&server, "GET", "/projects", success(200, &spaces)).await;
    let refused = json!({
        "success": false,
        "error": { "code": ACTING, "message": ACTING, "details": { "errors": [
            { "path": [ACTING], "code": ACTING, "message": ACTING }
        ] } },
        "metadata": { "timestamp": NOW, "requestId": ACTING }
    });
    let refused = wiremock::ResponseTemplate::new(400).set_body_json(refused);
    serve(&server, "POST", "/memory", refused).await;

    let user = User::of(&server);
    let data = user.run(&["memory", "list", "-o", "json"]).await.ok();
    assert_eq!(data.json(), page, "the same values");
    let done = [
        data,
        user.run(&["memory", "list"]).await.ok(),
        user.run(&["space", "list"]).await.ok(),
        user.run(&["memory", "add", "x", "--visibility", "ORG"]).await,
    ];
    for done in done {
        let printed = done.stdout + &done.stderr;
        assert!(printed.contains('a') && !printed.contains(|c| acts(&c)), "{printed:?}");
    }
}

#[tokio::test]
async fn pipes_get_no_colours_and_whole_columns() {
    let server = server().await;
    let name = "n".repeat(300);
    let space = json!({
        "id": ID, "slug": "a", "name": name, "organizationId": ID, "tags": [], "createdAt": NOW
    });
    let page = json!({ "projects": [space], "page": 1, "limit": 20, "total": 1 });
    serve(&server, "GET", "/projects", success(200, &page)).await;
    let done = User::of(&server).run(&["space", "list"]).await.ok();
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", done.stdout);
    assert!(lines[0].starts_with("SLUG  NAME"), "{}", lines[0]);
    assert!(lines[1].contains(&name) && lines[1].ends_with(ID), "{}", lines[1]);
    assert!(!done.stdout.contains('\u{1b}'));
}

#[tokio::test]
async fn no_colour_reaches_a_program_that_reads_errors() {
    let done = User::new().with("NO_COLOR", "1").run(&["whoami"]).await;
    assert!(!done.stderr.contains('\u{1b}'), "{}", done.stderr);
    assert!(done.stderr.starts_with("error: "), "{}", done.stderr);
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_the_command_quietly() {
    let server = server().await;
    // More than a pipe holds: the command is writing when the reader goes.
    let notes: Vec<_> = (0..100).map(|_| note(&"long ".repeat(2000))).collect();
    let page = json!({ "memories": notes, "total": 100 });
    serve(&server, "GET", "/memory", success(200, &page)).await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    let mut command = User::of(&server).command(&["memory", "list"]);
    let read_little = move || {
        let mut process = command.spawn().expect("it runs");
        let mut stdout = process.stdout.take().expect("piped");
        stdout.read_exact(&mut [0; 10]).expect("some output");
        drop(stdout);
        process.wait_with_output().expect("it ends")
    };
    let output = tokio::task::spawn_blocking(read_little).await.expect("no panic");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn a_note_is_read_from_standard_input() {
    let server = server().await;
    serve(&server, "POST", "/memory", success(201, &json!({ "memory": note("x") }))).await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    let add = ["memory", "add", "-", "--space", "platform-team", "--tag", "a", "--tag", "b"];
    User::of(&server).run_with_input(&add, "two\nlines\n").await.ok();
    let requests = server.received_requests().await.expect("recorded");
    let written = requests.iter().find(|request| request.method == "POST").expect("written");
    assert_eq!(
        written.body_json::<serde_json::Value>().expect("JSON"),
        json!({
            "content": "two\nlines", "visibility": "SPACE", "spaceId": ID, "tags": ["a", "b"]
        })
    );
}

#[tokio::test]
async fn all_gathers_every_page() {
    let server = server().await;
    let full: Vec<_> = (0..100).map(|_| note("x")).collect();
    let older = wiremock::Mock::given(wiremock::matchers::query_param("before", ID));
    let rest = json!({ "memories": [note("last")], "total": 101 });
    older.respond_with(success(200, &rest)).mount(&server).await;
    let first = json!({ "memories": full, "total": 101 });
    serve(&server, "GET", "/memory", success(200, &first)).await;
    let done = User::of(&server).run(&["memory", "list", "--all", "-o", "json"]).await.ok();
    assert_eq!(done.json()["memories"].as_array().expect("a list").len(), 101);
    assert_eq!(done.json()["total"], 101);
}
