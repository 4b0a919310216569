//! What can be found out without a server.

use crate::User;

#[tokio::test]
async fn help_names_every_command_and_every_exit_code() {
    let help = User::new().run(&["--help"]).await.ok().stdout;
    for word in [
        "login",
        "logout",
        "whoami",
        "profile",
        "space",
        "session",
        "memory",
        "message",
        "member",
        "invite",
        "key",
        "delegation",
        "billing",
        "mcp",
        "completions",
        "--url",
        "--profile",
        "--output",
        "SWITCHY_API_KEY",
        "SWITCHY_CONFIG_DIR",
        "NO_COLOR",
    ] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
    for code in 0..=9 {
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code} is missing");
    }
}

#[tokio::test]
async fn every_subcommand_explains_itself() {
    let user = User::new();
    for (command, subcommands) in [
        ("profile", vec!["list", "use", "remove"]),
        ("space", vec!["list", "view", "create"]),
        (
            "session",
            vec![
                "list",
                "view",
                "create",
                "update",
                "archive",
                "save",
                "share",
                "unarchive",
                "facets",
                "transcript",
            ],
        ),
        ("delegation", vec!["list", "allow", "end"]),
        ("message", vec!["send", "list", "watch", "react", "unreact"]),
        ("member", vec!["list", "role", "remove", "leave"]),
        ("invite", vec!["list", "create", "revoke", "accept"]),
        ("billing", vec!["credits", "checkout", "topup", "portal"]),
        ("mcp", vec!["config", "stdio"]),
        ("mcp", vec!["list", "add", "remove", "test", "bind", "unbind"]),
        ("memory", vec!["list", "add", "create", "delete", "search", "import"]),
        ("memory", vec!["view", "update"]),
        ("space", vec!["update", "archive", "member"]),
        ("key", vec!["list", "create", "rotate", "revoke"]),
    ] {
        for subcommand in subcommands {
            let help = user.run(&[command, subcommand, "--help"]).await.ok().stdout;
            assert!(help.contains("Usage: switchy"), "{command} {subcommand}");
        }
    }
}

#[tokio::test]
async fn the_version_is_that_of_the_package() {
    let version = User::new().run(&["--version"]).await.ok().stdout;
    assert_eq!(version, concat!("switchy ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn completions_exist_for_the_usual_shells() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(user.run(&["completions", shell]).await.ok().stdout.contains("whoami"), "{shell}");
    }
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2() {
    let user = User::new().with("SWITCHY_API_KEY", crate::KEY);
    for arguments in [
        vec!["nonsense"],
        vec!["session", "list"],
        vec!["session", "update", "--space", "a", "id"],
        vec!["billing", "checkout"],
        vec!["billing", "checkout", "starter"],
        vec!["billing", "topup"],
        vec!["billing", "topup", "small", "--credits", "100"],
        vec!["billing", "topup", "--credits", "99"],
        vec!["memory", "list", "--limit", "101"],
        vec!["memory", "add", "x", "--visibility", "space"],
        vec!["memory", "add", "x", "--visibility", "org", "--space", "a"],
        vec!["memory", "import", "no-such-file.jsonl"],
        vec!["member", "role", "ada@example.com", "king"],
        vec!["member", "remove"],
        vec!["invite", "create", "ada@example.com", "--role", "owner"],
        vec!["invite", "accept", "sk_live_x"],
        vec!["invite", "accept", "https://elsewhere.example/api/invitations/inv_a/accept"],
        vec!["mcp", "add", "x", "https://a.example/", "--mention", "x", "--secret-stdin"],
        vec!["mcp", "add", "x", "https://a.example/", "--mention", "x", "--auth", "bearer"],
        vec!["whoami", "--url", "not a url"],
        vec!["whoami", "--profile", "nobody"],
        vec!["whoami", "--api-key", "sk_live_x"],
    ] {
        let done = user.run(&arguments).await;
        assert_eq!(done.exit, 2, "{arguments:?}: {}", done.stderr);
        assert!(done.stdout.is_empty(), "{arguments:?}");
    }
}
