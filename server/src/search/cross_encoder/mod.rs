//! The cross-encoder: reads question and note together, and says how well they fit.
//!
//! It orders better than vectors, which are made of each text alone, and costs a run of the model
//! for every note; so it reads the best few that fusion found, on a thread of its own, and has a
//! deadline. What is not there in time changes nothing: the fused order is answered.
//!
//! There is one only where the operator brings a model along. The pieces, from the outside in:
//! `local` (loading), `worker` (the thread and the queue in front of it), `pair` (the model),
//! `order` (what its scores do to the ranking).

mod local;
pub(super) mod order;
mod pair;
mod worker;

use super::embedder::EmbedError;
use async_trait::async_trait;
use slog::Logger;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub use local::{LoadOptions, LocalCrossEncoder};
pub use pair::MAX_PAIR;

/// The most notes that it reads for one question: the best by fusion.
pub const CROSS_ENCODED: usize = 20;
/// How long a search waits for it unless configured otherwise, in milliseconds. A model of the size
/// of MiniLM-L6 in int8 reads 20 short notes in about half of it, on one core.
pub const DEADLINE_MS: u64 = 300;
/// The shortest deadline: in less no model reads two notes.
pub const SHORTEST_DEADLINE_MS: u64 = 10;
/// The longest deadline: nobody waits longer for a search.
pub const LONGEST_DEADLINE_MS: u64 = 5_000;

/// Says how well texts fit a question.
#[async_trait]
pub trait CrossEncoder: Send + Sync {
    /// Identifies the model, as [`super::embedder::Embedder::model_id`] does.
    fn model_id(&self) -> &str;

    /// How well each of `texts` fits `question`, in their order: higher is better, on a scale of
    /// the model's own. What the model cannot read of a pair (beyond [`MAX_PAIR`] word pieces) is
    /// ignored. Dropping the future ends the work.
    ///
    /// # Errors
    /// [`CrossEncodeError::Overloaded`] at once when too many wait, otherwise
    /// [`CrossEncodeError::Unavailable`] or [`CrossEncodeError::Failed`].
    async fn score(&self, question: &str, texts: Vec<String>)
    -> Result<Vec<f32>, CrossEncodeError>;
}

/// Why there are no scores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrossEncodeError {
    /// Nothing was done.
    #[error("too many searches wait for the cross-encoder")]
    Overloaded,
    /// There is no model, it could not be loaded, or it has been shut down.
    #[error("no cross-encoder is available: {0}")]
    Unavailable(String),
    /// The model is there, but did not answer.
    #[error("the cross-encoder did not answer: {0}")]
    Failed(String),
}

impl From<EmbedError> for CrossEncodeError {
    /// What is wrong with a model's files is the same for every model.
    fn from(error: EmbedError) -> Self {
        match error {
            EmbedError::Overloaded => CrossEncodeError::Overloaded,
            EmbedError::Unavailable(what) => CrossEncodeError::Unavailable(what),
            EmbedError::Failed(what) => CrossEncodeError::Failed(what),
        }
    }
}

/// A cross-encoder, and how long a search waits for it.
#[derive(Clone)]
pub struct CrossEncoding {
    /// The model.
    pub encoder: Arc<dyn CrossEncoder>,
    /// From the search's last statement to the fused order instead.
    pub deadline: Duration,
}

impl CrossEncoding {
    /// One finite score a text; `None` when the fused order is to be answered, for a reason that
    /// the log tells.
    pub(super) async fn score(
        &self,
        question: &str,
        texts: Vec<String>,
        log: &Logger,
    ) -> Option<Vec<f32>> {
        let count = texts.len();
        let error = match timeout(self.deadline, self.encoder.score(question, texts)).await {
            Ok(Ok(scores)) if scores.len() == count && scores.iter().all(|s| s.is_finite()) => {
                return Some(scores);
            }
            Ok(Ok(_)) => CrossEncodeError::Failed("it gave no number for some of the notes".into()),
            Ok(Err(CrossEncodeError::Overloaded)) => {
                slog::debug!(log, "a search was answered in the fused order";
                    "why" => %CrossEncodeError::Overloaded);
                return None;
            }
            Ok(Err(error)) => error,
            Err(_) => {
                slog::debug!(log, "a search was answered in the fused order";
                    "why" => "the cross-encoder's deadline passed",
                    "deadline_ms" => u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX));
                return None;
            }
        };
        slog::warn!(log, "a search was answered in the fused order"; "error" => %error);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::{Discard, o};

    /// Gives this, whatever is asked.
    struct Fixed(Result<Vec<f32>, CrossEncodeError>);

    #[async_trait]
    impl CrossEncoder for Fixed {
        fn model_id(&self) -> &str {
            "fixed"
        }
        async fn score(&self, _: &str, _: Vec<String>) -> Result<Vec<f32>, CrossEncodeError> {
            self.0.clone()
        }
    }

    /// Never answers.
    struct Stuck;

    #[async_trait]
    impl CrossEncoder for Stuck {
        fn model_id(&self) -> &str {
            "stuck"
        }
        async fn score(&self, _: &str, _: Vec<String>) -> Result<Vec<f32>, CrossEncodeError> {
            std::future::pending().await
        }
    }

    async fn within(deadline: Duration, encoder: impl CrossEncoder + 'static) -> Option<Vec<f32>> {
        let cross = CrossEncoding { encoder: Arc::new(encoder), deadline };
        cross.score("q", vec!["a".into(), "b".into()], &Logger::root(Discard, o!())).await
    }

    /// With a deadline that never passes.
    async fn scores(encoder: impl CrossEncoder + 'static) -> Option<Vec<f32>> {
        within(Duration::from_secs(3600), encoder).await
    }

    #[tokio::test]
    async fn scores_come_through_when_there_is_one_for_each_text() {
        assert_eq!(scores(Fixed(Ok(vec![0.5, -3.0]))).await, Some(vec![0.5, -3.0]));
        assert_eq!(scores(Fixed(Ok(vec![0.5]))).await, None);
        assert_eq!(scores(Fixed(Ok(vec![0.5, f32::NAN]))).await, None);
        assert_eq!(scores(Fixed(Ok(vec![0.5, f32::INFINITY]))).await, None);
    }

    #[tokio::test]
    async fn a_deadline_that_passes_a_full_queue_and_an_error_leave_no_scores() {
        assert_eq!(within(Duration::from_millis(10), Stuck).await, None);
        assert_eq!(scores(Fixed(Err(CrossEncodeError::Overloaded))).await, None);
        assert_eq!(scores(Fixed(Err(CrossEncodeError::Failed("no".into())))).await, None);
        assert_eq!(scores(Fixed(Err(CrossEncodeError::Unavailable("no".into())))).await, None);
    }
}
