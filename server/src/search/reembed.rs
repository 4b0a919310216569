//! From one model to another, while servers go on searching with the old one.
//!
//! Every note gets vectors of the new models beside those it has; then one statement makes the new
//! ones those that are searched with. Servers ask the database which these are with every search
//! and every note, so that none compares vectors of two models: a server that has other models than
//! the database searches by words alone, until it is started with the right ones.

use super::embedder::{EmbedError, Embedder, Owner};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::ids::MemoryId;
use crate::store::memory::{self, Embedded, Unembedded};
use crate::store::models::{self, Hopeless, Models};
use futures::{StreamExt, TryStreamExt, stream};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};

/// Notes read at a time.
const BATCH: i32 = 64;
/// Old vectors removed at a time.
const REMOVED_AT_ONCE: i64 = 1_000;

/// How to go about it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Notes embedded at the same time.
    pub workers: usize,
    /// Most notes a second; `None`: as fast as it goes.
    pub rate: Option<NonZeroU32>,
    /// What to do once every note has its vectors.
    pub then: Then,
    /// How long the old vectors stay after the change, for searches that are under way.
    pub grace: Duration,
}

/// What to do once every note has its vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing: the change is made by another run.
    Wait,
    /// Make the change, and remove the old vectors.
    Switch,
    /// Make the change, and keep the old vectors for the way back.
    SwitchAndKeep,
}

/// Hears how far the work is.
pub trait Watch: Send + Sync {
    /// So many of so many notes have their vectors.
    fn embedded(&self, done: u64, of: u64);
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The models.
    pub models: Models,
    /// Notes that got vectors now.
    pub embedded: u64,
    /// Notes that the model cannot embed; they are found by their words.
    pub hopeless: u64,
    /// Whether the models were searched with already.
    pub was_active: bool,
}

/// The models of an embedder.
pub fn models_of(embedder: &dyn Embedder) -> Models {
    Models {
        model_id: embedder.model_id().to_owned(),
        sparse_model_id: embedder.sparse_model_id().map(str::to_owned),
    }
}

/// Lets one through at a time, at most so many a second.
struct Pace(Option<tokio::sync::Mutex<Interval>>);

impl Pace {
    fn new(rate: Option<NonZeroU32>) -> Pace {
        Pace(rate.map(|rate| {
            let mut interval = tokio::time::interval(Duration::from_secs(1) / rate.get());
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tokio::sync::Mutex::new(interval)
        }))
    }

    async fn wait(&self) {
        if let Some(interval) = &self.0 {
            interval.lock().await.tick().await;
        }
    }
}

async fn embed(
    store: &Store,
    embedder: &dyn Embedder,
    models: &Models,
    note: &Unembedded,
) -> Result<bool> {
    match embedder.embed_note(&note.content, &Owner::background()).await {
        Ok(vectors) if !models.is_complete(&vectors) => Ok(false),
        Ok(vectors) => {
            let embedded = Embedded {
                note: &vectors,
                model_id: &models.model_id,
                sparse_model_id: models.sparse_model_id.as_deref(),
            };
            memory::embed(store, note, &embedded).await?;
            Ok(true)
        }
        Err(EmbedError::Failed(_)) => Ok(false),
        Err(error) => Err(Error::internal(error)),
    }
}

/// Embeds what lacks vectors of the embedder's models, and then makes the change as `options` want
/// it. What was done by a run that was interrupted is not done again.
pub async fn run(
    store: &Store,
    embedder: &dyn Embedder,
    options: Options,
    watch: &dyn Watch,
) -> Result<Done> {
    let models = models_of(embedder);
    let was_active = models::active(store).await?.as_ref() == Some(&models);
    let pace = Pace::new(options.rate);
    let hopeless: Mutex<Hopeless> = Mutex::default();
    let lock = || hopeless.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (notes, lacking) = models::progress(store, &models).await?;
    let (mut done, mut total) = (notes - lacking, notes);
    let mut embedded = 0;
    let mut after: Option<MemoryId> = None;
    loop {
        watch.embedded(done.unsigned_abs(), total.unsigned_abs());
        let given_up = lock().clone();
        let batch = models::lacking(store, &models, after.as_ref(), &given_up, BATCH).await?;
        let Some(last) = batch.last() else {
            // notes are written meanwhile, and their ids are in no order: once more from the start
            match after.take() {
                Some(_) => continue,
                None => break,
            }
        };
        after = Some(last.id.clone());
        let outcomes: Vec<bool> = stream::iter(batch)
            .map(|note| async {
                pace.wait().await;
                let can = embed(store, embedder, &models, &note).await?;
                if !can {
                    lock().push(note);
                }
                Ok::<_, Error>(can)
            })
            .buffer_unordered(options.workers.max(1))
            .try_collect()
            .await?;
        embedded += outcomes.iter().filter(|can| **can).count() as u64;
        done += i64::try_from(outcomes.len()).unwrap_or(i64::MAX);
        total = total.max(done);
    }
    // What is being written at this moment gets its vectors from the servers of the new model.
    if options.then != Then::Wait && !was_active {
        models::activate(store, &models).await?;
    }
    if options.then == Then::Switch {
        if !was_active {
            tokio::time::sleep(options.grace).await;
        }
        while models::remove_others(store, REMOVED_AT_ONCE).await? > 0 {}
    }
    let hopeless = lock().len() as u64;
    Ok(Done { models, embedded, hopeless, was_active })
}
