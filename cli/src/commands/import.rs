//! `memory import`: many notes from a file, safe to run again.

mod batches;
pub mod lines;
pub mod patience;

use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    path::Path,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use switchy::Client;

use crate::{
    args::Audience,
    connection::{Connection, pick_space},
    failure::{Exit, Failure},
    output::{Output, printable},
};
use batches::{Pending, Writer};
use lines::{Identity, Line, Note};
use patience::patiently;

/// The most notes that a page holds.
const FULL_PAGE: u32 = 100;

/// What became of the lines.
#[derive(Default)]
struct Tally {
    created: usize,
    skipped: usize,
    failed: Vec<LineFailure>,
}

/// A line that is not a note now.
struct LineFailure {
    line: usize,
    message: String,
    details: Vec<String>,
    exit: Exit,
}

pub async fn run(
    connection: &Connection,
    file: &Path,
    audience: &Audience,
    output: &Output,
) -> Result<(), Failure> {
    // For files, --visibility and --space are what lines without their own get: see `Defaults`.
    let defaults = lines::Defaults::new(audience)?;
    let text = read(file)?;
    let client = connection.client_without_retries()?;

    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut tally = Tally::default();
    let lines = lines::numbered(&text);
    bar.set_length(lines.len() as u64);
    let outcome = import(&client, &defaults, &lines, &bar, &mut tally).await;
    bar.finish_and_clear();
    // what the server refuses is known later than what cannot even be sent
    tally.failed.sort_by_key(|failure| failure.line);

    summary(&tally, lines.len(), output)?;
    outcome?;
    match tally.failed.first() {
        Some(failure) => Err(Failure::told(failure.exit)),
        None => Ok(()),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    if file == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        read.map_err(|cause| Failure::usage(format!("cannot read standard input: {cause}")))?;
        return Ok(text);
    }
    fs::read_to_string(file).map_err(|cause| {
        Failure::new(Exit::Usage, format!("cannot read {}: {cause}", file.display()))
    })
}

/// Writes what is not there yet; fails when going on makes no sense.
async fn import(
    client: &Client,
    defaults: &lines::Defaults,
    lines: &[(usize, &str)],
    bar: &ProgressBar,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let me = patiently(bar, || client.me()).await?;
    defaults.space.as_deref().map(|space| pick_space(&me.spaces, space)).transpose()?;
    bar.set_message("comparing with your notes");
    let mut existing = existing(client, &me.user.id, bar).await?;
    bar.set_message("");

    let mut occurrences = HashMap::new();
    let batching = lines.len() >= batches::WORTH_IT;
    let mut writer = Writer::new(client, &me.organization.id, batching, bar, tally);
    for (number, line) in lines {
        let note = match Line::parse(line).and_then(|line| line.resolve(defaults, &me.spaces)) {
            Ok(note) => note,
            Err(message) => {
                writer.refused(LineFailure {
                    line: *number,
                    message,
                    details: Vec::new(),
                    exit: Exit::Invalid,
                });
                continue;
            }
        };
        let key = note.idempotency_key(&me.organization.id, &mut occurrences);
        if let Some(left) = existing.get_mut(&note.identity()).filter(|left| **left > 0) {
            *left -= 1;
            writer.skipped();
        } else {
            writer.add(Pending { line: *number, note, key }).await?;
        }
    }
    writer.write().await
}

/// How many notes of the caller there are, by what makes two notes the same.
async fn existing(
    client: &Client,
    user_id: &str,
    bar: &ProgressBar,
) -> Result<HashMap<Identity, usize>, Failure> {
    let mut count = HashMap::new();
    let mut request = client.memory().list().author(user_id).limit(FULL_PAGE);
    loop {
        let page = patiently(bar, || request.clone()).await?;
        let full = page.memories.len() >= FULL_PAGE as usize;
        let last = page.memories.last().filter(|_| full).map(|note| note.id.clone());
        for note in page.memories {
            // The server decides what an author filter means; other people's notes do not count.
            if note.author_user_id == user_id {
                *count.entry(Note::from(note).identity()).or_insert(0) += 1;
            }
        }
        match last {
            Some(id) => request = request.before(id),
            None => return Ok(count),
        }
    }
}

/// Says at once which line is not a note, and why.
fn tell(bar: &ProgressBar, tally: &mut Tally, failure: LineFailure) {
    bar.suspend(|| {
        eprintln!("line {}: {}", failure.line, printable(&failure.message));
        for detail in &failure.details {
            eprintln!("  {}", printable(detail));
        }
    });
    tally.failed.push(failure);
}

fn summary(tally: &Tally, lines: usize, output: &Output) -> Result<(), Failure> {
    let Tally { created, skipped, failed } = tally;
    let left = lines - created - skipped - failed.len();
    if output.is_json() {
        let failures: Vec<_> = failed
            .iter()
            .map(|failure| {
                json!({
                    "line": failure.line,
                    "message": failure.message,
                    "details": failure.details,
                })
            })
            .collect();
        return output.json(&json!({
            "created": created,
            "skipped": skipped,
            "failed": failed.len(),
            "left": left,
            "failures": failures,
        }));
    }
    let mut text = format!("{created} created, {skipped} skipped, {} failed", failed.len());
    if left > 0 {
        text += &format!(", {left} left: run the import again");
    }
    output.say(&text)
}
