//! Local text embeddings: sentence vectors, and sparse term weights where a SPLADE model is present.
//!
//! [`Embedder`] is what the rest of the server sees. [`LocalEmbedder`] runs ONNX models on a fixed
//! number of OS threads behind one bounded queue in which queries overtake notes, and the owners of
//! notes take turns; [`NoEmbedder`] stands in where there is no model.
//!
//! The pieces, from the outside in: `local` (loading), `pool`, `queue` and `owner` (threads and order),
//! `engine` (one thread's models), `dense` and `splade` (one model each), `folder` (the files),
//! `runtime` (ONNX Runtime), `passages` (how a long note is cut). What comes out are the vectors of `switchy-types`.

mod dense;
mod engine;
pub(super) mod folder;
mod local;
mod none;
mod note;
mod owner;
mod passages;
mod pool;
mod queue;
pub(super) mod runtime;
mod splade;

use async_trait::async_trait;

pub use local::{DEFAULT_QUEUE, LoadOptions, LocalEmbedder, default_threads};
pub use none::NoEmbedder;
pub use owner::{Owner, Urgency};
pub use passages::MAX_PASSAGES;
pub use runtime::TELEMETRY_OFF;
pub use switchy_types::vectors::{
    DIMENSIONS, Dense, NoteEmbedding, Passage, QueryEmbedding, Sparse,
};

/// Turns text into the vectors that search compares.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Identifies the model of the dense vectors as `name/precision/checksum`, for example
    /// `all-MiniLM-L6-v2/int8/ab12cd34`; vectors of different ids must not be compared.
    fn model_id(&self) -> &str;

    /// Identifies the model of the sparse weights in the same form, `None` when there is none.
    fn sparse_model_id(&self) -> Option<&str> {
        None
    }

    /// Whether there is a model at all: `false` means [`EmbedError::Unavailable`] until a restart.
    fn is_available(&self) -> bool {
        true
    }

    /// Embeds a search query; what the model cannot read (beyond 256 word pieces) is ignored.
    ///
    /// # Errors
    /// [`EmbedError::Overloaded`] at once when the queue is full, otherwise
    /// [`EmbedError::Unavailable`] or [`EmbedError::Failed`].
    async fn embed_query(&self, text: &str) -> Result<QueryEmbedding, EmbedError>;

    /// Embeds a note, cut into at most [`MAX_PASSAGES`] overlapping passages when it is long, when
    /// it is its owner's turn.
    ///
    /// # Errors
    /// As [`Embedder::embed_query`].
    async fn embed_note(&self, text: &str, owner: &Owner) -> Result<NoteEmbedding, EmbedError>;
}

/// Why a text got no embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The queue is full: nothing was done, the same request can succeed in a moment.
    #[error("the embedding queue is full; try again in a moment")]
    Overloaded,
    /// There is no model, it could not be loaded, or it has been shut down.
    #[error("no embedding model is available: {0}")]
    Unavailable(String),
    /// The model is there, but did not answer for this text.
    #[error("the text could not be embedded: {0}")]
    Failed(String),
}
