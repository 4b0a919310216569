//! The page on integrations lists what the code refuses.
//!
//! After a change of the rules: `EXPECTORATE=overwrite cargo test -p switchy-server --test
//! integrations_page`.

use std::fmt::Write as _;
use switchy_server::mcp::guard::address::{FORBIDDEN, ISATAP, UNASSIGNED};
use switchy_server::mcp::guard::host::FORBIDDEN_NAMES;

const PAGE: &str = "../docs/integrations.md";
const BEGIN: &str = "<!-- generated from the code: see server/tests/integrations_page.rs -->\n";
const END: &str = "<!-- end -->";

fn table() -> String {
    let mut out = String::from("\n| refused | because it is |\n|---|---|\n");
    for network in FORBIDDEN {
        let _ = writeln!(out, "| `{network}` | {} |", network.what);
    }
    let _ = writeln!(out, "| IPv6 with an interface of `::5efe:0:0/96` | {ISATAP} |");
    let _ = writeln!(out, "| IPv6 outside of `2000::/3` | {UNASSIGNED} |");
    let names: Vec<String> =
        FORBIDDEN_NAMES.iter().map(|name| format!("`{name}`, `*.{name}`")).collect();
    let _ = writeln!(out, "| {} | a name of a private network |", names.join(", "));
    out + "| a name without a dot | a name of a private network |\n\n"
}

#[test]
fn the_page_lists_what_is_refused() {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let table = table();
    println!("{table}");
    expectorate::assert_contents(PAGE, &format!("{before}{BEGIN}{table}{END}{after}"));
}
