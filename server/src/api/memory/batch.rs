//! Many notes at once (contract E3).

use super::{Memory, MemoryCreate, right_to};
use crate::api::{Call, Ctx, Kept};
use crate::auth::Scope;
use crate::error::Result;
use crate::http::{Answer, Check, Created, IdempotencyKey, Issues, Unread, request_state};
use crate::search::{embedder::Urgency, owner};
use crate::store::memory as store;
use crate::store::rights::Right;
use dropshot::endpoint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Most notes of one batch.
pub const MAX_BATCH: usize = 100;
/// Which part of the time that a request has left may go into embedding, as a divisor: what follows
/// must be done before the deadline.
const EMBEDDING_SHARE: u32 = 2;
/// How long embedding may take where no deadline is known.
const EMBEDDING_TIME: Duration = Duration::from_secs(10);

/// New notes.
#[derive(Deserialize, JsonSchema)]
struct MemoryBatch {
    /// The notes: 1 to 100, and no more than the 1 MiB that a request's body may have.
    #[schemars(length(min = 1, max = 100))]
    memories: Vec<MemoryCreate>,
}

impl Check for MemoryBatch {
    fn check(&self, issues: &mut Issues) {
        if self.memories.is_empty() {
            issues.add("memories", "too_few", "must have at least one element");
        }
        issues.count("memories", self.memories.len(), MAX_BATCH);
        issues.within("memories", |issues| {
            for (i, new) in self.memories.iter().take(MAX_BATCH).enumerate() {
                issues.within(i, |issues| new.check(issues));
            }
        });
    }
}

/// The notes that were written.
#[derive(Serialize, JsonSchema)]
struct MemoryBatchData {
    /// In the order in which they were given.
    memories: Vec<Memory>,
}

/// Write many notes
///
/// All or nothing, and counted as one write. Violations tell which note they are about:
/// `["memories", 3, "content"]`. Each note is as in `POST /memory`. When there are too many long
/// ones to embed them all in time, some are found by their words alone for a while; 429 when too
/// many of the caller's notes wait to be embedded.
#[endpoint { method = POST, path = "/api/memory/batch", tags = ["Memory"], operation_id = "memory_batch" }]
pub(in crate::api) async fn memory_batch(
    ctx: Ctx,
    key: IdempotencyKey,
    body: Unread<MemoryBatch>,
) -> Answer<Created<MemoryBatchData>> {
    let mut call = Call::writing(&ctx, Scope::MemoryWrite).await?;
    let body = call.body(body).await?;
    // before the transaction, as with a single note
    let search = &call.app().search;
    search.check_backlog(call.caller())?;
    let vectors = match body.peek() {
        Some(batch) => {
            let contents = batch.memories.iter().map(|new| new.content.as_str()).collect();
            let time =
                request_state::time_left().map_or(EMBEDDING_TIME, |left| left / EMBEDDING_SHARE);
            let owner = owner(call.caller(), Urgency::Batch);
            search.embed_notes(contents, &owner, Instant::now() + time).await?
        }
        None => Vec::new(),
    };
    let answer = call
        .create(key, body, async |tx, body| {
            let new: Vec<store::NewMemory> = body.memories.into_iter().map(Into::into).collect();
            let embedded: Vec<_> =
                vectors.iter().map(|v| v.as_ref().map(|v| v.embedded())).collect();
            let embedded: Vec<_> = embedded.iter().map(Option::as_ref).collect();
            let written = store::create_all(tx, &new, &embedded)
                .await
                .inspect_err(|error| search.note_backlog(call.caller(), error))?;
            let mut rights: Vec<_> = written.iter().map(right_to).collect();
            rights.sort_unstable_by_key(Right::stored);
            rights.dedup();
            let memories = written.into_iter().map(Memory::try_from).collect::<Result<_>>()?;
            let data = MemoryBatchData { memories };
            Kept::for_all(&data, rights)
        })
        .await;
    if answer.is_ok() && vectors.iter().any(Option::is_none) {
        search.backfill().wake();
    }
    answer
}
