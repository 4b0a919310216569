//! What README and docs show is run: every `sh` block, in order, as somebody would paste it.

use crate::fixture::binary::{Home, Serving, cli_program, command, server_program};
use crate::fixture::cluster::{cache_dir, cluster};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `sh` blocks of a page.
fn shell_blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).expect(page);
    let mut blocks = Vec::new();
    let mut inside: Option<String> = None;
    for line in text.lines() {
        match (&mut inside, line) {
            (None, "```sh") => inside = Some(String::new()),
            (Some(_), "```") => blocks.extend(inside.take()),
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

/// A folder with a `cargo` that runs what is built already, and the two programs by name.
fn make_shims(folder: &Path) -> PathBuf {
    let shims = folder.join("bin");
    std::fs::create_dir_all(&shims).expect("a folder");
    let (server, cli) = (server_program(), cli_program());
    let script = format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in\n\
         -p) package=$2; shift ;;\n--) shift; break ;;\nesac; shift; done\n\
         case $package in\nswitchy-server) exec '{}' \"$@\" ;;\nswitchy-cli) exec '{}' \"$@\" ;;\n\
         esac\necho \"unexpected package $package\" >&2; exit 64\n",
        server.display(),
        cli.display()
    );
    let cargo = shims.join("cargo");
    std::fs::write(&cargo, script).expect("a script");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&cargo, mode).expect("runnable");
    for program in [&server, &cli] {
        let name = program.file_name().expect("a name");
        std::os::unix::fs::symlink(program, shims.join(name)).expect("a link");
    }
    shims
}

/// A server as command one starts it, but on a free port.
fn start_server(home: &Home) -> Serving {
    cluster(); // whoever comes first downloads, with all the time it takes
    let mut command = home.server(["serve"]);
    Serving::start(command.env("SWITCHY_BIND", "127.0.0.1:0").env("SWITCHY_LOG_FORMAT", "json"))
}

/// Runs a block as pasted, from the project's folder; what it printed.
fn paste(home: &Home, block: &str, url: &str) -> String {
    let shims = home.folder().join("bin");
    let shims = if shims.exists() { shims } else { make_shims(home.folder()) };
    let path = format!("{}:{}", shims.display(), std::env::var("PATH").unwrap_or_default());
    // the server of the test is elsewhere, and so are its files; everything else is as printed
    let block = block
        .replace("http://127.0.0.1:3000/api", url)
        .replace("/var/lib/switchy", "\"$SWITCHY_DATA_DIR\"")
        .replace("/var/cache/switchy", &format!("'{}'", cache_dir().display()))
        .replace("switchy.dump", "\"$SWITCHY_DATA_DIR\".dump");
    let output = command(Path::new("bash"))
        .args(["-euo", "pipefail", "-c", &block])
        .env("PATH", path)
        .env("SWITCHY_DATA_DIR", home.data_dir())
        .env("SWITCHY_CONFIG_DIR", home.config_dir())
        .current_dir(root())
        .output()
        .expect("bash");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{block}\n--- stdout\n{out}\n--- stderr\n{err}");
    out.into_owned()
}

#[test]
fn the_readme_works_when_pasted() {
    let blocks = shell_blocks("README.md");
    let [serve, tour, curl, colleague, test] = blocks.as_slice() else {
        panic!("README.md has {} sh blocks, five were expected", blocks.len());
    };
    assert_eq!(serve.trim(), "cargo run --release -p switchy-server -- serve");
    let ci = std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    assert!(ci.contains(test.trim()), ".ci/run does not run `{}`", test.trim());

    let home = Home::new();
    let server = start_server(&home);
    let out = paste(&home, tour, &server.url);
    assert!(out.contains("release captain"), "{out}");
    assert!(out.contains("\"title\": \"Postgres upgrade\""), "{out}");
    let out = paste(&home, curl, &server.url);
    assert!(out.contains("Refunds above 500 euros"), "{out}");
    let out = paste(&home, colleague, &server.url);
    assert!(out.contains("grace@example.com") && out.contains("sk_live_"), "{out}");
}

#[test]
fn the_docs_work_when_pasted() {
    for page in [
        "docs/deployment.md",
        "docs/configuration.md",
        "docs/cli.md",
        "docs/http.md",
        "docs/mcp.md",
        "docs/performance.md",
    ] {
        let blocks = shell_blocks(page);
        if blocks.is_empty() {
            continue;
        }
        let home = Home::new();
        let server = start_server(&home);
        for block in &blocks {
            paste(&home, block, &server.url);
        }
    }
}

#[test]
fn an_agent_saves_a_session_and_both_dialects_show_it() {
    let page = "docs/saved-sessions.md";
    let blocks = shell_blocks(page);
    let [script] = blocks.as_slice() else { panic!("{page} has {} sh blocks", blocks.len()) };
    let home = Home::new();
    let server = start_server(&home);
    let out = paste(&home, script, &server.url);
    for shown in [
        // first saved, and shared
        "\"visibility\":\"private\"",
        "\"visibility\":\"workspace\"",
        "2 appended, 0 were there already",
        // summed from what the turns took
        "\"total_input_tokens\":2510",
        "\"total_output_tokens\":99",
        "\"total_cost_usd\":0.0063",
        "\"last_generation_input_tokens\":1310",
        "\"message_count\":5",
        "\"repo\":[{\"value\":\"billing\",\"count\":1}]",
        "calls read_log",
        "A report holds a lock on invoices.",
        // and in the other dialect
        "\"totalInputTokens\":2510",
        "\"title\":\"Nightly migration times out\"",
    ] {
        assert!(out.contains(shown), "{shown} is not in\n{out}");
    }
}

#[test]
fn every_setting_is_documented() {
    let help = command(&server_program()).args(["serve", "--help"]).output().expect("help");
    let help = String::from_utf8(help.stdout).expect("text");
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).expect("page");
    let mut names = 0;
    for part in help.split("[env: ").skip(1) {
        let name = part.split(['=', ']']).next().expect("a name");
        assert!(page.contains(&format!("`{name}`")), "docs/configuration.md lacks {name}");
        names += 1;
    }
    assert!(names >= 20, "{names} settings");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs").flatten();
    let top = std::fs::read_dir(root()).expect("the project").flatten();
    let pages = docs.chain(top).map(|entry| entry.path());
    for page in pages.filter(|p| p.extension().is_some_and(|e| e == "md")) {
        let text = std::fs::read_to_string(&page).expect("page");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            // what is no file: other sites, places on the page, items of the Rust documentation
            let is_file = target.contains('.') && !target.contains(':') && !target.contains(' ');
            if !is_file {
                continue;
            }
            let target = target.split('#').next().unwrap_or_default();
            let there = page.parent().expect("a folder").join(target);
            assert!(there.exists(), "{} links to {target}", page.display());
        }
    }
}
