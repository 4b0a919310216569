//! The part of a checkpoint's `config.json` that shapes the network.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::ModelError;

/// The only activation function that is built, and the one meant when none is named.
const ACTIVATION: &str = "gelu";
/// The only kind of position embedding that is built, and the one meant when none is named.
const POSITIONS: &str = "absolute";

/// The dimensions of a BERT network. Every number is at least 1.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) vocab_size: usize,
    pub(super) max_position_embeddings: usize,
    #[serde(default = "default_type_vocab_size")]
    pub(super) type_vocab_size: usize,
    #[serde(default = "default_layer_norm_eps")]
    pub(super) layer_norm_eps: f32,
    #[serde(default = "default_activation")]
    hidden_act: String,
    #[serde(default = "default_positions")]
    position_embedding_type: String,
    #[serde(default = "default_tie_word_embeddings")]
    tie_word_embeddings: bool,
}

impl Config {
    /// Reads and checks the configuration at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let text =
            fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        let config: Self = serde_json::from_slice(&text)
            .map_err(|source| ModelError::Config { path: path.to_owned(), source })?;
        match config.unsupported() {
            Some(reason) => Err(ModelError::Unsupported { path: path.to_owned(), reason }),
            None => Ok(config),
        }
    }

    /// The width of one attention head.
    pub(super) fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    fn unsupported(&self) -> Option<String> {
        let numbers = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_hidden_layers", self.num_hidden_layers),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((name, _)) = numbers.iter().find(|(_, number)| *number == 0) {
            return Some(format!("`{name}` is 0, and must be at least 1"));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Some(format!(
                "`hidden_size` {} cannot be shared out among {} attention heads",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            return Some(format!("`layer_norm_eps` is {}", self.layer_norm_eps));
        }
        if self.hidden_act != ACTIVATION {
            return Some(format!("`hidden_act` is {:?}, not {ACTIVATION:?}", self.hidden_act));
        }
        if self.position_embedding_type != POSITIONS {
            return Some(format!(
                "`position_embedding_type` is {:?}, not {POSITIONS:?}",
                self.position_embedding_type
            ));
        }
        if !self.tie_word_embeddings {
            return Some("`tie_word_embeddings` is false".to_owned());
        }
        None
    }
}

fn default_type_vocab_size() -> usize {
    2
}

fn default_layer_norm_eps() -> f32 {
    1e-12
}

fn default_activation() -> String {
    ACTIVATION.to_owned()
}

fn default_positions() -> String {
    POSITIONS.to_owned()
}

fn default_tie_word_embeddings() -> bool {
    true
}
