//! A note on its way through the models: cut, then embedded in steps that any thread can do.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{
    EmbedError,
    owner::Owner,
    pool::Engine,
    queue::{Owned, Request},
};
use switchy_types::vectors::{Dense, NOTE_TERMS, NoteEmbedding, Passage, Sparse};

/// A note that somebody waits for; its clones are the same note.
#[derive(Clone)]
pub(super) struct NoteWork(Arc<Note>);

struct Note {
    text: String,
    owner: Owner,
    progress: Mutex<Progress>,
}

/// How far it got.
struct Progress {
    /// The passages; `None` before the note has been cut.
    ranges: Option<Vec<Range<usize>>>,
    /// Whether there are terms to be found as well.
    expands: bool,
    /// The first step that nobody has taken.
    next: usize,
    dense: Vec<Option<Dense>>,
    sparse: Option<Sparse>,
    /// Steps that are still to be done or being done.
    open: usize,
    /// Where the answer goes; `None` when it has gone there.
    reply: Option<oneshot::Sender<Result<NoteEmbedding, EmbedError>>>,
}

/// One run of a model over one passage.
pub(super) struct Step {
    passage: usize,
    range: Range<usize>,
    model: Model,
}

enum Model {
    Dense,
    Sparse,
}

/// What came of a step.
pub(super) enum Done {
    Dense(usize, Dense),
    Sparse(Sparse),
}

impl NoteWork {
    /// A note of which nothing has been done.
    pub(super) fn new(
        text: String,
        owner: Owner,
        reply: oneshot::Sender<Result<NoteEmbedding, EmbedError>>,
    ) -> Self {
        let progress = Progress {
            ranges: None,
            expands: false,
            next: 0,
            dense: Vec::new(),
            sparse: None,
            open: 0,
            reply: Some(reply),
        };
        Self(Arc::new(Note { text, owner, progress: Mutex::new(progress) }))
    }

    /// Cuts the note, if that has not been done: the one step that all others wait for, done by the
    /// one thread that has the note then.
    pub(super) fn cut(&self, engine: &mut impl Engine) -> Result<(), EmbedError> {
        if self.progress().ranges.is_some() {
            return Ok(());
        }
        let ranges = engine.passages(&self.0.text)?;
        let mut progress = self.progress();
        progress.expands = engine.expands();
        progress.dense = ranges.iter().map(|_| None).collect();
        progress.open = ranges.len() * progress.steps_a_passage();
        progress.ranges = Some(ranges);
        Ok(())
    }

    /// A step that nobody has taken, if there is one, and whether there are more.
    pub(super) fn next_step(&self) -> (Option<Step>, bool) {
        let mut progress = self.progress();
        let each = progress.steps_a_passage();
        let step = |at: usize, ranges: &[Range<usize>]| {
            let passage = at / each;
            let model = if at.is_multiple_of(each) { Model::Dense } else { Model::Sparse };
            ranges.get(passage).map(|range| Step { passage, range: range.clone(), model })
        };
        let ranges = progress.ranges.as_deref().unwrap_or_default();
        let (taken, more) =
            (step(progress.next, ranges), step(progress.next + 1, ranges).is_some());
        progress.next += 1;
        (taken, more)
    }

    /// Does a step.
    pub(super) fn compute(
        &self,
        step: &Step,
        engine: &mut impl Engine,
    ) -> Result<Done, EmbedError> {
        let Range { start, end } = step.range;
        let text = self.0.text.get(start..end).ok_or_else(|| {
            EmbedError::Failed(format!("there is no passage at bytes {start}..{end}"))
        })?;
        Ok(match step.model {
            Model::Dense => Done::Dense(step.passage, engine.dense(text)?),
            Model::Sparse => Done::Sparse(engine.sparse(text)?),
        })
    }

    /// Takes what came of a step, and answers when it was the last one.
    pub(super) fn add(&self, done: Done) {
        let mut progress = self.progress();
        match done {
            Done::Dense(passage, dense) => {
                if let Some(place) = progress.dense.get_mut(passage) {
                    *place = Some(dense);
                }
            }
            Done::Sparse(more) => {
                progress.sparse = Some(match progress.sparse.take() {
                    Some(so_far) => so_far.max(more),
                    None => more,
                });
            }
        }
        progress.open = progress.open.saturating_sub(1);
        if progress.open == 0 {
            progress.answer();
        }
    }

    /// Answers that it cannot be done; what is left of it is not.
    pub(super) fn fail(&self, error: EmbedError) {
        if let Some(reply) = self.progress().reply.take() {
            // Whoever asked may have gone.
            let _ = reply.send(Err(error));
        }
    }

    // No code panics while it holds the lock, so a poisoned state is still a sound one.
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request for NoteWork {
    fn is_abandoned(&self) -> bool {
        self.progress().reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Owned for NoteWork {
    fn owner(&self) -> &Owner {
        &self.0.owner
    }
}

impl Progress {
    fn steps_a_passage(&self) -> usize {
        1 + usize::from(self.expands)
    }

    fn answer(&mut self) {
        let ranges = self.ranges.take().unwrap_or_default();
        let passages = ranges.into_iter().zip(self.dense.drain(..)).filter_map(|(range, dense)| {
            Some(Passage { start: range.start, end: range.end, dense: dense? })
        });
        let embedding = NoteEmbedding {
            passages: passages.collect(),
            sparse: self.sparse.take().map(|terms| terms.top(NOTE_TERMS)),
        };
        if let Some(reply) = self.reply.take() {
            // Whoever asked may have gone.
            let _ = reply.send(Ok(embedding));
        }
    }
}
