//! The embedder of a server without a model.

use async_trait::async_trait;

use super::{EmbedError, Embedder, NoteEmbedding, Owner, QueryEmbedding};

/// Answers every request with [`EmbedError::Unavailable`], so that search falls back to words.
#[derive(Debug, Clone)]
pub struct NoEmbedder {
    reason: String,
}

impl NoEmbedder {
    /// `reason` is the sentence its errors carry: why there is no model, and what to do about it.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

#[async_trait]
impl Embedder for NoEmbedder {
    fn is_available(&self) -> bool {
        false
    }

    fn model_id(&self) -> &str {
        "none"
    }

    async fn embed_query(&self, _text: &str) -> Result<QueryEmbedding, EmbedError> {
        Err(EmbedError::Unavailable(self.reason.clone()))
    }

    async fn embed_note(&self, _text: &str, _owner: &Owner) -> Result<NoteEmbedding, EmbedError> {
        Err(EmbedError::Unavailable(self.reason.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_request_is_answered_with_the_reason() {
        let none = NoEmbedder::new("embeddings are switched off");
        let expected = EmbedError::Unavailable("embeddings are switched off".into());
        assert_eq!(none.embed_query("q").await, Err(expected.clone()));
        assert_eq!(none.embed_note("n", &Owner::background()).await, Err(expected));
    }
}
