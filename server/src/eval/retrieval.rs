//! Loads a collection as anybody's notes are loaded, and asks as anybody asks.

use super::dataset::{Dataset, Document};
use super::metrics::{Latency, Quality};
use crate::api::MAX_CONTENT;
use crate::auth::{Caller, OrgRole, PrivateNotes, Scopes};
use crate::error::{Error, Result};
use crate::search::embedder::Urgency;
use crate::search::{Found, Pipeline, Question, Search, owner};
use crate::store::ids::{KeyId, MemoryId};
use crate::store::memory::{self, NewMemory, Visibility};
use crate::store::search::{self, Filter};
use crate::store::{Store, accounts};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many results are asked for: what the deepest measure looks at, and a margin.
const DEPTH: usize = 100;

/// Hears how far the work is.
pub trait Watch: Send + Sync {
    /// So many steps of this begin.
    fn begin(&self, what: &str, steps: usize);
    /// One is done.
    fn step(&self);
}

/// What one way through the search is worth.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// Which.
    pub stage: &'static str,
    /// By the judgements.
    #[serde(flatten)]
    pub quality: Quality,
    /// From the question's text to the notes, embedding included, one question after the other.
    pub latency: Latency,
    /// Questions that were answered in the fused order, because the cross-encoder was not in time;
    /// only of the stage that has one.
    #[serde(rename = "fellBack", skip_serializing_if = "Option::is_none")]
    pub fell_back: Option<usize>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The collection.
    pub dataset: String,
    /// The models, as vectors carry them.
    pub model: String,
    /// The reranker's, if there is one.
    pub sparse_model: Option<String>,
    /// The cross-encoder's, if there is one.
    pub cross_encoder: Option<String>,
    /// Documents that were written.
    pub documents: usize,
    /// Documents without any text, which cannot be notes.
    pub left_out: usize,
    /// Documents longer than a note may be: their beginning was written.
    pub shortened: usize,
    /// Questions that were asked.
    pub questions: usize,
    /// A note's way from its text to the database, embedding included, several at a time.
    pub write: Latency,
    /// By way, from the shortest to the whole.
    pub stages: Vec<Stage>,
}

/// An organization of this evaluation alone.
struct Scratch {
    caller: Caller,
}

impl Scratch {
    async fn found(store: &Store) -> Result<Scratch> {
        let key_id = KeyId::generate();
        let slug = format!("eval-{key_id}");
        let mut tx = store.begin_system().await?;
        let org = accounts::create_org(&mut tx, &slug, "Evaluation").await?;
        let user = accounts::user_with_email(&mut tx, &format!("{slug}@localhost")).await?;
        accounts::add_member(&mut tx, &org.id, &user.id, OrgRole::Owner).await?;
        tx.commit().await?;
        let caller = Caller {
            key_id,
            user_id: user.id,
            org_id: org.id,
            role: OrgRole::Owner,
            scopes: Scopes::all_rest(),
            private_notes: PrivateNotes::Open,
            on_behalf: false,
        };
        Ok(Scratch { caller })
    }

    async fn remove(&self, store: &Store) -> Result<()> {
        let mut tx = store.begin_system().await?;
        accounts::delete_org(&mut tx, &self.caller.org_id).await?;
        accounts::delete_user(&mut tx, &self.caller.user_id).await?;
        tx.commit().await
    }
}

/// The beginning that fits into a note.
fn shortened(content: &str) -> &str {
    content.char_indices().nth(MAX_CONTENT).map_or(content, |(end, _)| &content[..end])
}

async fn write(
    store: &Store,
    search: &Search,
    caller: &Caller,
    content: &str,
) -> Result<(MemoryId, Duration)> {
    let begun = Instant::now();
    let vectors = search.embed_note(content, &owner(caller, Urgency::Single)).await?;
    let new = NewMemory {
        visibility: Visibility::Org,
        space_id: None,
        content: content.to_owned(),
        tags: Vec::new(),
        source_url: None,
    };
    let embedded = vectors.as_ref().map(|v| v.embedded());
    let mut tx = store.begin(caller).await?;
    let note = memory::create(&mut tx, &new, embedded.as_ref()).await?;
    tx.commit().await?;
    Ok((note.id, begun.elapsed()))
}

async fn ask(
    store: &Store,
    search: &Search,
    caller: &Caller,
    text: &str,
    pipeline: Pipeline,
) -> Result<(Found, Duration)> {
    let begun = Instant::now();
    let embedding = match pipeline.vectors() {
        true => search.embed_query(&caller.org_id, text).await?,
        false => None,
    };
    let question =
        Question { text, filter: &Filter::default(), limit: DEPTH, min_score: 0.0, pipeline };
    let mut tx = store.begin(caller).await?;
    let ranked = search.search(&mut tx, &question, embedding.as_deref()).await?;
    tx.commit().await?;
    Ok((search.finish(ranked, text).await, begun.elapsed()))
}

/// Measures `search` on `dataset`, in an organization that is removed again, also after a failure.
/// `writers` notes are written at a time. `None` when `stop` came first.
pub async fn evaluate(
    store: &Store,
    search: &Search,
    dataset: &Dataset,
    writers: usize,
    watch: &dyn Watch,
    stop: impl Future<Output = ()>,
) -> Result<Option<Report>> {
    let scratch = Scratch::found(store).await?;
    let measured = tokio::select! {
        report = measure(store, search, &scratch.caller, dataset, writers, watch) => report.map(Some),
        () = stop => Ok(None),
    };
    let removed = scratch.remove(store).await;
    let report = measured?;
    removed?;
    Ok(report)
}

async fn measure(
    store: &Store,
    search: &Search,
    caller: &Caller,
    dataset: &Dataset,
    writers: usize,
    watch: &dyn Watch,
) -> Result<Report> {
    let contents: Vec<(&Document, String)> = dataset
        .documents
        .iter()
        .map(|document| (document, document.content()))
        .filter(|(_, content)| !content.is_empty())
        .collect();
    watch.begin("Writing notes", contents.len());
    let written: Vec<(String, MemoryId, Duration)> =
        stream::iter(contents.iter().map(|(document, content)| async move {
            let (id, time) = write(store, search, caller, shortened(content)).await?;
            watch.step();
            Ok::<_, Error>((document.id.clone(), id, time))
        }))
        .buffer_unordered(writers.max(1))
        .try_collect()
        .await?;
    let write = Latency::of(written.iter().map(|(_, _, time)| *time).collect());
    let documents: HashMap<MemoryId, String> =
        written.into_iter().map(|(document, note, _)| (note, document)).collect();

    // as a server does that has been running for a while
    search::refresh_statistics(store).await?;

    let mut stages = Vec::new();
    let has_cross_encoder = search.cross_encoding().is_some();
    for pipeline in Pipeline::ALL {
        if pipeline.cross_encodes() && !has_cross_encoder {
            continue;
        }
        watch.begin(&format!("Asking ({})", pipeline.as_str()), dataset.questions.len());
        let (mut rankings, mut times, mut fell_back) = (Vec::new(), Vec::new(), 0);
        for question in &dataset.questions {
            let (found, time) = ask(store, search, caller, &question.text, pipeline).await?;
            fell_back += usize::from(found.fell_back);
            let found = found.hits.iter().filter_map(|hit| documents.get(&hit.memory.id).cloned());
            rankings.push(found.collect::<Vec<String>>());
            times.push(time);
            watch.step();
        }
        let judged = dataset.questions.iter().map(|question| &question.judged);
        stages.push(Stage {
            stage: pipeline.as_str(),
            quality: Quality::of(rankings.iter().map(Vec::as_slice).zip(judged)),
            latency: Latency::of(times),
            fell_back: pipeline.cross_encodes().then_some(fell_back),
        });
    }
    Ok(Report {
        dataset: dataset.name.clone(),
        model: search.embedder().model_id().to_owned(),
        sparse_model: search.embedder().sparse_model_id().map(str::to_owned),
        cross_encoder: search.cross_encoding().map(|cross| cross.encoder.model_id().to_owned()),
        documents: documents.len(),
        left_out: dataset.documents.len() - contents.len(),
        shortened: contents.iter().filter(|(_, c)| shortened(c).len() < c.len()).count(),
        questions: dataset.questions.len(),
        write,
        stages,
    })
}
