//! One thread's models.

use std::{ops::Range, sync::Arc};

use ort::environment::Environment;
use tokenizers::Tokenizer;

use super::{
    EmbedError,
    dense::DenseModel,
    folder::Models,
    passages::{Limits, cut},
    pool::Engine,
    splade::{self, SpladeModel},
};
use switchy_types::vectors::{Dense, NOTE_TERMS, QUERY_TERMS, QueryEmbedding, Sparse};

/// The word pieces that every sequence begins and ends with.
const SPECIAL_PIECES: usize = 2;

/// The tokenizers, which all threads share: they are read only, and large.
#[derive(Clone)]
struct Tokenizers {
    dense: Arc<Tokenizer>,
    limits: Limits,
    splade: Option<Arc<Tokenizer>>,
}

/// A sentence model, and a sparse one if there is one.
pub(super) struct Onnx {
    dense: DenseModel,
    splade: Option<SpladeModel>,
    tokenizers: Tokenizers,
}

impl Onnx {
    /// Loads the first instance of the models.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`], with a sentence that says what is wrong with which folder.
    pub(super) fn load(models: &Models, environment: &Environment) -> Result<Self, EmbedError> {
        let dense = DenseModel::load(&models.dense, environment.clone())?;
        let (tokenizer, sequence) = dense.tokenizer()?;
        let readable = sequence.saturating_sub(SPECIAL_PIECES);
        let limits = Limits::for_reading(readable).ok_or_else(|| {
            models.dense.unusable(format!("it reads only {sequence} word pieces at a time"))
        })?;
        let splade = models.splade.as_ref().map(splade::tokenizer).transpose()?.map(Arc::new);
        let tokenizers = Tokenizers { dense: Arc::new(tokenizer), limits, splade };
        Self::assemble(models, environment, dense, tokenizers)
    }

    /// What loads further instances, which share this one's tokenizers.
    pub(super) fn again(
        &self,
        models: Models,
        environment: Environment,
    ) -> impl Fn() -> Result<Self, EmbedError> + Send + Sync + 'static {
        let tokenizers = self.tokenizers.clone();
        move || {
            let dense = DenseModel::load(&models.dense, environment.clone())?;
            Self::assemble(&models, &environment, dense, tokenizers.clone())
        }
    }

    fn assemble(
        models: &Models,
        environment: &Environment,
        dense: DenseModel,
        tokenizers: Tokenizers,
    ) -> Result<Self, EmbedError> {
        let splade = match (&models.splade, &tokenizers.splade) {
            (Some(folder), Some(tokenizer)) => {
                Some(SpladeModel::load(folder, environment, Arc::clone(tokenizer))?)
            }
            _ => None,
        };
        Ok(Self { dense, splade, tokenizers })
    }
}

impl Engine for Onnx {
    fn query(&mut self, text: &str) -> Result<QueryEmbedding, EmbedError> {
        let dense = self.dense.embed(text)?;
        let sparse = self.splade.as_mut().map(|model| model.weigh(text)).transpose()?;
        Ok(QueryEmbedding { dense, sparse: sparse.map(|terms| terms.top(QUERY_TERMS)) })
    }

    fn passages(&mut self, text: &str) -> Result<Vec<Range<usize>>, EmbedError> {
        let Tokenizers { dense, limits, .. } = &self.tokenizers;
        // Byte offsets into the original text, whatever the tokenizer normalises away.
        let encoding =
            dense.encode(text, false).map_err(|error| EmbedError::Failed(error.to_string()))?;
        Ok(cut(text, encoding.get_offsets(), *limits))
    }

    fn dense(&mut self, passage: &str) -> Result<Dense, EmbedError> {
        self.dense.embed(passage)
    }

    fn expands(&self) -> bool {
        self.splade.is_some()
    }

    fn sparse(&mut self, passage: &str) -> Result<Sparse, EmbedError> {
        let model = self
            .splade
            .as_mut()
            .ok_or_else(|| EmbedError::Unavailable("there is no model that expands".into()))?;
        Ok(model.weigh(passage)?.top(NOTE_TERMS))
    }
}
