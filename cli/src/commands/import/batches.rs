//! Writing: many notes at once where it pays, one at a time where each must answer for itself.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use switchy::{Client, Error, PathStep, Request, operation, types};

use super::{
    LineFailure, Tally,
    lines::{Note, batch_key},
    patience::patiently,
    tell,
};
use crate::failure::{Exit, Failure, exit_of};

/// From so many lines on, notes are written in batches. Below, one at a time takes no longer, and
/// is understood by every server.
pub const WORTH_IT: usize = 10;

/// The most notes of a batch.
const MAX_NOTES: usize = 100;

/// The most bytes of a batch: what a server reads, less what is around the notes.
const MAX_BYTES: usize = 1_000_000;

/// A note that is still to be written.
pub struct Pending {
    /// The number of its line.
    pub line: usize,
    pub note: Note,
    /// Its idempotency key, for when it is written alone.
    pub key: String,
}

/// Writes notes, and keeps count.
pub struct Writer<'a> {
    client: &'a Client,
    organization_id: &'a str,
    /// Whether to write many at once.
    batching: bool,
    bar: &'a ProgressBar,
    tally: &'a mut Tally,
    pending: Vec<Pending>,
    bytes: usize,
}

impl<'a> Writer<'a> {
    pub fn new(
        client: &'a Client,
        organization_id: &'a str,
        batching: bool,
        bar: &'a ProgressBar,
        tally: &'a mut Tally,
    ) -> Self {
        Self { client, organization_id, batching, bar, tally, pending: Vec::new(), bytes: 0 }
    }

    /// A line that is there already.
    pub fn skipped(&mut self) {
        self.tally.skipped += 1;
        self.bar.inc(1);
    }

    /// A line that is not written.
    pub fn refused(&mut self, failure: LineFailure) {
        tell(self.bar, self.tally, failure);
        self.bar.inc(1);
    }

    /// Writes the note, at once or together with those that follow; fails when going on makes no
    /// sense.
    pub async fn add(&mut self, pending: Pending) -> Result<(), Failure> {
        if !self.batching {
            return self.write_one(&pending).await;
        }
        let bytes = serde_json::to_string(&pending.note).map_or(MAX_BYTES, |text| text.len() + 1);
        if self.pending.len() >= MAX_NOTES || self.bytes + bytes > MAX_BYTES {
            self.write().await?;
        }
        self.bytes += bytes;
        self.pending.push(pending);
        Ok(())
    }

    /// Writes what is still to be written; fails when going on makes no sense.
    pub async fn write(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        let mut pending = std::mem::take(&mut self.pending);
        while !pending.is_empty() {
            if !self.batching {
                return self.write_each(&pending).await;
            }
            let keys = pending.iter().map(|pending| pending.key.as_str());
            let key = batch_key(self.organization_id, keys);
            let notes: Vec<_> = pending.iter().map(|pending| body(&pending.note)).collect();
            let batch = || self.client.memory().create_batch(notes.clone()).idempotency_key(&key);
            let error = match patiently(self.bar, batch).await {
                Ok(_) => {
                    self.tally.created += pending.len();
                    self.bar.inc(pending.len() as u64);
                    return Ok(());
                }
                Err(error) => error,
            };
            let error = match pending.first() {
                Some(first) => bearable(error, first.line)?,
                None => error,
            };
            let wrong = by_note(&error);
            if wrong.is_empty() {
                // It is not known which of them it was, or this server knows no batches.
                self.batching = error.status().is_none_or(|status| status.as_u16() != 405);
                return self.write_each(&pending).await;
            }
            // Nothing was written: once more, without those.
            let mut rest = Vec::new();
            for (place, pending) in pending.into_iter().enumerate() {
                match wrong.get(&(place as u64)) {
                    None => rest.push(pending),
                    Some(details) => self.refused(LineFailure {
                        line: pending.line,
                        message: "not accepted".into(),
                        details: details.clone(),
                        exit: exit_of(&error),
                    }),
                }
            }
            pending = rest;
        }
        Ok(())
    }

    async fn write_each(&mut self, pending: &[Pending]) -> Result<(), Failure> {
        for pending in pending {
            self.write_one(pending).await?;
        }
        Ok(())
    }

    async fn write_one(&mut self, pending: &Pending) -> Result<(), Failure> {
        match patiently(self.bar, || request(self.client, &pending.note, &pending.key)).await {
            Ok(_) => {
                self.tally.created += 1;
                self.bar.inc(1);
            }
            Err(error) => {
                let error = bearable(error, pending.line)?;
                self.refused(LineFailure {
                    line: pending.line,
                    message: error.to_string(),
                    details: error.field_errors().iter().map(ToString::to_string).collect(),
                    exit: exit_of(&error),
                });
            }
        }
        Ok(())
    }
}

/// Fails with those errors that hold for every line that follows.
fn bearable(error: Error, line: usize) -> Result<Error, Failure> {
    match exit_of(&error) {
        Exit::Authentication | Exit::Unavailable => {
            Err(Failure::from(error).about(&format!("line {line}")))
        }
        _ => Ok(error),
    }
}

/// What is wrong with each note of a batch, by its place: `memories[3].content: …` is about the one
/// at 3.
fn by_note(error: &Error) -> BTreeMap<u64, Vec<String>> {
    let mut wrong: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for field in error.field_errors() {
        let [PathStep::Field(list), PathStep::Index(place), rest @ ..] = field.path.as_slice()
        else {
            continue;
        };
        if list == "memories" {
            let mut field = field.clone();
            field.path = rest.to_vec();
            wrong.entry(*place).or_default().push(field.to_string());
        }
    }
    wrong
}

fn body(note: &Note) -> types::MemoryCreate {
    types::MemoryCreate {
        content: note.content.clone(),
        visibility: types::Visibility::from(note.visibility.as_str()),
        space_id: note.space_id.clone(),
        tags: (!note.tags.is_empty()).then(|| note.tags.clone()),
        source_url: note.source_url.clone(),
    }
}

fn request(
    client: &Client,
    note: &Note,
    idempotency_key: &str,
) -> Request<operation::MemoryCreate> {
    let visibility = types::Visibility::from(note.visibility.as_str());
    let mut request = client.memory().create(&note.content, visibility);
    if let Some(space_id) = &note.space_id {
        request = request.space(space_id);
    }
    if !note.tags.is_empty() {
        request = request.tags(&note.tags);
    }
    if let Some(url) = &note.source_url {
        request = request.source_url(url);
    }
    request.idempotency_key(idempotency_key)
}
