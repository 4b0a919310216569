//! Rooms of the server use each other in one direction only.
//!
//! Between crates the compiler sees to that (`switchy-types`, `switchy-runtime`); inside this crate
//! this test does: a room may use those above it in [`FLOORS`], which stands upside down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rooms, the lowest first. A room uses only rooms that come before it.
const FLOORS: &[&str] = &[
    "clock",
    "round_trips",
    "public_url",
    "auth",
    "store",
    "limits",
    "http",
    "search",
    "mail",
    "security_contact",
    "billing",
    "events",
    "mcp",
    "api",
    "server",
    "config",
    "logging",
    "bootstrap",
    "eval",
    "profile",
    "commands",
];

/// Arrows that run up, each with the reason why it is still there.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "mcp",
    "api",
    "the tools check what they are given by the limits that stand beside the operations",
)];

/// The names behind `crate::` in a file, without its unit tests.
fn uses(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut found = BTreeSet::new();
    for (at, marker) in source.match_indices("crate::") {
        let before = source[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &source[at + marker.len()..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        found.insert(rest[..end].to_owned());
        if rest.starts_with('{') {
            found.extend(listed(rest));
        }
    }
    found
}

/// The first names of the items in a list in braces, which may hold other lists.
fn listed(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut depth, mut item) = (0, String::new());
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => drop(found.insert(std::mem::take(&mut item))),
            _ if depth == 1 => item.push(c),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found.insert(item);
    let first = |item: String| item.trim().split("::").next().unwrap_or_default().to_owned();
    found.into_iter().map(first).filter(|name| !name.is_empty()).collect()
}

fn read(folder: &Path, room: Option<&str>, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in std::fs::read_dir(folder).expect("the sources are here") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let room = room.unwrap_or(&stem);
        if path.is_dir() {
            read(&path, Some(room), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).expect("a readable file");
            found.entry(room.to_owned()).or_default().extend(uses(&source));
        }
    }
}

#[test]
fn no_room_uses_one_above_it() {
    let mut found = BTreeMap::new();
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), None, &mut found);
    let floor = |room: &str| FLOORS.iter().position(|known| *known == room);
    let mut wrong = Vec::new();
    let mut excused = BTreeSet::new();
    for (room, used) in &found {
        if ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        let Some(own) = floor(room) else {
            wrong.push(format!("{room} has no place in FLOORS"));
            continue;
        };
        for other in used.iter().filter(|other| *other != room) {
            // what is no room is an item that the crate's root hands on, from a lower crate
            let Some(theirs) = floor(other) else { continue };
            if theirs < own {
                continue;
            }
            match EXCEPTIONS.iter().find(|(from, to, _)| from == room && to == other) {
                Some(exception) => drop(excused.insert(exception)),
                None => wrong.push(format!("{room} uses {other}, which is above it")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(excused.len(), EXCEPTIONS.len(), "an exception is needed no more: {excused:?}");
}

#[test]
fn uses_are_found_in_paths_and_lists() {
    let source = "use crate::store::Tx;\nuse crate::{auth, http::{Json, sse}, mail};\nlet x = crate::api::f();";
    let expected = ["", "api", "auth", "http", "mail", "store"].map(str::to_owned);
    assert_eq!(uses(source), BTreeSet::from(expected));
    assert!(uses("switchy_crate::store").is_empty());
}
