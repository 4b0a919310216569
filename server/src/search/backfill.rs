//! Catches up with notes that have no vectors: written while the model was away, or by a server
//! that died in between.

use super::reembed::models_of;
use super::{
    Search,
    embedder::{EmbedError, Owner},
};
use crate::store::Store;
use crate::store::ids::MemoryId;
use crate::store::memory::{self, Embedded, Unembedded};
use crate::store::models::{self, Hopeless, Models};
use slog::Logger;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Notes read at a time.
const BATCH: i32 = 32;
/// How often to look without being told, for notes that another server left.
const INTERVAL: Duration = Duration::from_secs(600);
/// Pause after a failure: the model or the database is away.
const PAUSE: Duration = Duration::from_secs(10);

/// Wakes the task that catches up.
#[derive(Clone, Default)]
pub struct Backfill(Arc<Notify>);

/// Why a round ended before everything was embedded.
enum Interrupted {
    Later,
}

impl Backfill {
    /// There is something to do.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Embeds what is left over, for as long as the server runs.
    pub async fn run(self, store: Store, search: Search, log: Logger) {
        let mut hopeless = Hopeless::default();
        loop {
            let wait = match round(&store, &search, &mut hopeless, &log).await {
                Ok(()) => INTERVAL,
                Err(Interrupted::Later) => PAUSE,
            };
            let _ = tokio::time::timeout(wait, self.0.notified()).await;
        }
    }
}

async fn round(
    store: &Store,
    search: &Search,
    hopeless: &mut Hopeless,
    log: &Logger,
) -> Result<(), Interrupted> {
    let embedder = search.embedder();
    if !embedder.is_available() {
        return Ok(()); // no model, and none will come without a restart
    }
    let own = models_of(&**embedder);
    let sparse = own.sparse_model_id.clone();
    let active = models::claim(store, &own).await.map_err(|_| Interrupted::Later)?;
    if !search.compare(&active) {
        return Ok(()); // servers with the right model do it
    }
    // expansions are written by those who have the right reranker
    let own = Models {
        sparse_model_id: own.sparse_model_id.filter(|_| active.sparse_model_id == sparse),
        ..own
    };
    let mut after: Option<MemoryId> = None;
    loop {
        // what somebody wrote comes before what a change of the model has left
        let mut notes = models::waiting(store, BATCH).await.map_err(|_| Interrupted::Later)?;
        if notes.is_empty() {
            notes = models::lacking(store, &own, after.as_ref(), hopeless, BATCH)
                .await
                .map_err(|_| Interrupted::Later)?;
            match (notes.last(), &after) {
                (Some(last), _) => after = Some(last.id.clone()),
                // notes come in no order of their ids: once more from the start, if there were any
                (None, Some(_)) => after = None,
                (None, None) => {
                    models::keeps_up(store).await.map_err(|_| Interrupted::Later)?;
                    return Ok(());
                }
            }
        }
        let any = !notes.is_empty();
        for note in notes {
            match embedder.embed_note(&note.content, &Owner::background()).await {
                Ok(embedding) if !own.is_complete(&embedding) => {
                    give_up(store, note, hopeless).await?;
                }
                Ok(embedding) => {
                    let embedded = Embedded {
                        note: &embedding,
                        model_id: embedder.model_id(),
                        sparse_model_id: own.sparse_model_id.as_deref(),
                    };
                    memory::embed(store, &note, &embedded).await.map_err(|_| Interrupted::Later)?;
                }
                Err(EmbedError::Failed(error)) => {
                    slog::warn!(log, "a note cannot be embedded";
                        "memory_id" => %note.id, "error" => error);
                    give_up(store, note, hopeless).await?;
                }
                Err(EmbedError::Overloaded | EmbedError::Unavailable(_)) => {
                    return Err(Interrupted::Later);
                }
            }
        }
        if any {
            models::keeps_up(store).await.map_err(|_| Interrupted::Later)?;
        }
    }
}

async fn give_up(
    store: &Store,
    note: Unembedded,
    hopeless: &mut Hopeless,
) -> Result<(), Interrupted> {
    models::give_up(store, &note.id).await.map_err(|_| Interrupted::Later)?;
    hopeless.push(note);
    Ok(())
}
