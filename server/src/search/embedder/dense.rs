//! The sentence model: one text in, one vector out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastembed::{
    InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel,
};
use ort::environment::Environment;
use tokenizers::Tokenizer;

use super::{EmbedError, folder::ModelFolder};
use switchy_types::vectors::{DIMENSIONS, Dense};

/// The longest sequence given to a model, in word pieces, with the two special ones: what
/// all-MiniLM-L6-v2 was trained on. A model of one's own may declare less, not more.
pub(super) const MAX_SEQUENCE: usize = 256;

/// One instance of the sentence model; computes on the calling thread alone.
pub(super) struct DenseModel(TextEmbedding);

impl DenseModel {
    /// Loads the model and embeds one text to see that it fits.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`] when a file is missing or unusable, or when the vectors do not
    /// have [`DIMENSIONS`] components.
    pub(super) fn load(folder: &ModelFolder, environment: Environment) -> Result<Self, EmbedError> {
        let special_tokens = "special_tokens_map.json";
        let tokenizer = TokenizerFiles {
            tokenizer_file: folder.file("tokenizer.json")?,
            config_file: folder.file("config.json")?,
            // Newer exports have it no more: tokenizer.json says the same.
            special_tokens_map_file: if folder.has(special_tokens) {
                folder.file(special_tokens)?
            } else {
                b"{}".to_vec()
            },
            tokenizer_config_file: folder.file("tokenizer_config.json")?,
        };
        let model = UserDefinedEmbeddingModel::new(folder.model()?, tokenizer)
            .with_pooling(pooling(folder)?);
        // One thread a model and no busy waiting: measured, that is the fastest at every load, and
        // an idle server costs nothing.
        let options = InitOptionsUserDefined::new()
            .with_environment(environment)
            .with_max_length(MAX_SEQUENCE)
            .with_intra_threads(1)
            .with_session_config("session.intra_op.allow_spinning", "0");
        let model = TextEmbedding::try_new_from_user_defined(model, options)
            .map_err(|error| folder.unusable(error))?;
        let mut model = Self(model);
        // Libraries assert on the shape of a foreign model's output: a panic is an answer, too.
        let components = catch_unwind(AssertUnwindSafe(|| model.components("dimensions")))
            .unwrap_or_else(|_| Err("it panicked on a first text".into()))
            .map_err(|error| folder.unusable(error))?
            .len();
        if components == DIMENSIONS {
            Ok(model)
        } else {
            Err(folder.unusable(format!(
                "its vectors have {components} dimensions and the database stores {DIMENSIONS}; \
                 choose a model of {DIMENSIONS} dimensions"
            )))
        }
    }

    /// The tokenizer without its limit, and the limit: how many word pieces the model reads.
    pub(super) fn tokenizer(&self) -> Result<(Tokenizer, usize), EmbedError> {
        let mut tokenizer = self.0.tokenizer.clone();
        let limit = tokenizer.get_truncation().map_or(MAX_SEQUENCE, |params| params.max_length);
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| EmbedError::Unavailable(error.to_string()))?;
        Ok((tokenizer, limit))
    }

    /// The vector of `text`; what the model cannot read of it is ignored.
    pub(super) fn embed(&mut self, text: &str) -> Result<Dense, EmbedError> {
        let components = self.components(text).map_err(EmbedError::Failed)?;
        Dense::normalised(components)
            .ok_or_else(|| EmbedError::Failed("the model's vector has no direction".into()))
    }

    fn components(&mut self, text: &str) -> Result<Vec<f32>, String> {
        // One text at a time: a quantised model's result would depend on its neighbours.
        let vectors = self.0.embed([text], Some(1)).map_err(|error| error.to_string())?;
        vectors.into_iter().next().ok_or_else(|| "the model returned no vector".into())
    }
}

/// How token vectors become one: as the sentence-transformers layout says, or else their mean.
fn pooling(folder: &ModelFolder) -> Result<Pooling, EmbedError> {
    let file = "1_Pooling/config.json";
    if !folder.has(file) {
        return Ok(Pooling::Mean);
    }
    let config: serde_json::Value =
        serde_json::from_slice(&folder.file(file)?).map_err(|error| folder.unusable(error))?;
    let first_token = config["pooling_mode_cls_token"].as_bool() == Some(true);
    Ok(if first_token { Pooling::Cls } else { Pooling::Mean })
}
