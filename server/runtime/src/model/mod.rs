//! Turns a BERT checkpoint, as it is published, into the model the server runs.
//!
//! The published form is `config.json` and `model.safetensors` in 32-bit floats; what comes out is
//! an ONNX model whose weights are 8-bit integers: a quarter of the size and, on a processor, about
//! half the time a text. Nothing but the two files goes in, so a machine needs no Python packages
//! to prepare its models, and the same checkpoint gives the same bytes on every machine: a
//! checksum of the model can stand for it.
//!
//! Two models are built, both with the int64 inputs `input_ids`, `attention_mask` and
//! `token_type_ids`, each `[batch, seq]`:
//!
//! * [`build_minilm`]: the hidden state of every token, `last_hidden_state`
//!   `[batch, seq, hidden_size]`, from which a sentence embedding is pooled;
//! * [`build_splade`]: a weight for every word of the vocabulary, `splade` `[batch, vocab_size]`.
//!
//! Activations are quantised as they come, over the whole input: give a model one text at a time,
//! or a text's result depends a little on its neighbours in the batch.

mod bert;
mod checkpoint;
mod config;
mod error;
mod graph;
mod layers;
mod onnx;
mod quantize;
mod splade;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use prost::Message as _;

use self::checkpoint::Checkpoint;
use self::config::Config;
pub use self::error::ModelError;
use self::graph::Graph;

/// The name of the checkpoint's description, in the folder that is read.
const CONFIG_FILE: &str = "config.json";
/// The name of the checkpoint's weights, in the folder that is read.
const WEIGHTS_FILE: &str = "model.safetensors";
/// The name of the model, in the folder that is written.
const MODEL_FILE: &str = "model.onnx";
/// The model's name until it is complete: `model.onnx` is there whole or not at all.
const UNFINISHED_MODEL_FILE: &str = "model.onnx.part";

/// Reads the sentence encoder in `src_dir` and writes `out_dir/model.onnx`, its output
/// `last_hidden_state`, `[batch, seq, hidden_size]`.
///
/// `src_dir` holds `config.json` and `model.safetensors`; `out_dir` is made when it is missing.
/// Takes seconds, blocks, and holds the checkpoint in memory once.
///
/// # Errors
///
/// [`ModelError`], when a file cannot be read or written, or when the checkpoint is damaged or is
/// not a BERT encoder.
pub fn build_minilm(src_dir: &Path, out_dir: &Path) -> Result<(), ModelError> {
    build(src_dir, out_dir, bert::encoder_model)
}

/// Reads the SPLADE masked-language model in `src_dir` and writes `out_dir/model.onnx`, its output
/// `splade`, `[batch, vocab_size]`: `max over the tokens of ln(1 + relu(logit))`, never negative.
///
/// `src_dir` holds `config.json` and `model.safetensors`; `out_dir` is made when it is missing.
/// Takes seconds, blocks, and holds the checkpoint in memory once.
///
/// # Errors
///
/// [`ModelError`], when a file cannot be read or written, or when the checkpoint is damaged or is
/// not a BERT masked-language model with tied word embeddings.
pub fn build_splade(src_dir: &Path, out_dir: &Path) -> Result<(), ModelError> {
    build(src_dir, out_dir, splade::splade_model)
}

fn build(
    src_dir: &Path,
    out_dir: &Path,
    assemble: fn(&Checkpoint<'_>, &Config) -> Result<Graph, ModelError>,
) -> Result<(), ModelError> {
    let config = Config::read(&src_dir.join(CONFIG_FILE))?;
    let graph = {
        let path = src_dir.join(WEIGHTS_FILE);
        let file =
            fs::read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
        assemble(&Checkpoint::parse(&path, &file)?, &config)?
        // The checkpoint, the largest thing here, is let go before the model is encoded.
    };
    write_model(out_dir, &graph.into_model().encode_to_vec())
}

fn write_model(out_dir: &Path, model: &[u8]) -> Result<(), ModelError> {
    let unfinished = out_dir.join(UNFINISHED_MODEL_FILE);
    let finished = out_dir.join(MODEL_FILE);
    let write = || {
        fs::create_dir_all(out_dir)?;
        let mut file = File::create(&unfinished)?;
        file.write_all(model)?;
        file.sync_all()?;
        fs::rename(&unfinished, &finished)
    };
    write().map_err(|source| ModelError::Write { path: finished.clone(), source })
}
