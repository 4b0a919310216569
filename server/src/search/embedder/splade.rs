//! The sparse model: one text in, weights over its vocabulary out (SPLADE, Formal et al. 2021).

use std::sync::Arc;

use ort::{environment::Environment, session::Session, value::Value};
use tokenizers::{Tokenizer, TruncationParams};

use super::{EmbedError, dense::MAX_SEQUENCE, folder::ModelFolder, runtime::session};
use switchy_types::vectors::Sparse;

/// Weights below this are noise of the quantisation.
const SMALLEST_WEIGHT: f32 = 1e-3;

/// The name of the model's output: one weight for each term of the vocabulary.
const OUTPUT: &str = "splade";

/// The tokenizer of the model in `folder`, cutting at what the model is given at most.
pub(super) fn tokenizer(folder: &ModelFolder) -> Result<Tokenizer, EmbedError> {
    let mut tokenizer = Tokenizer::from_bytes(folder.file("tokenizer.json")?)
        .map_err(|error| folder.unusable(error))?;
    tokenizer.with_padding(None);
    let limit = TruncationParams { max_length: MAX_SEQUENCE, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(limit)).map_err(|error| folder.unusable(error))?;
    Ok(tokenizer)
}

/// One instance of the sparse model; computes on the calling thread alone.
pub(super) struct SpladeModel {
    session: Session,
    tokenizer: Arc<Tokenizer>,
    needs_types: bool,
}

impl SpladeModel {
    /// Loads the model and weighs one text to see that it fits.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`] when a file is missing or unusable.
    pub(super) fn load(
        folder: &ModelFolder,
        environment: &Environment,
        tokenizer: Arc<Tokenizer>,
    ) -> Result<Self, EmbedError> {
        let session =
            session(environment, &folder.model()?).map_err(|error| folder.unusable(error))?;
        if !session.outputs().iter().any(|output| output.name() == OUTPUT) {
            return Err(folder.unusable(format!("it has no output named {OUTPUT}")));
        }
        let needs_types = session.inputs().iter().any(|input| input.name() == "token_type_ids");
        let mut model = Self { session, tokenizer, needs_types };
        model.run("weights").map_err(|error| folder.unusable(error))?;
        Ok(model)
    }

    /// The weights of the terms that `text` contains or suggests.
    pub(super) fn weigh(&mut self, text: &str) -> Result<Sparse, EmbedError> {
        self.run(text).map_err(|error| EmbedError::Failed(error.to_string()))
    }

    fn run(&mut self, text: &str) -> Result<Sparse, Box<dyn std::error::Error + Send + Sync>> {
        let encoding = self.tokenizer.encode(text, true)?;
        let tensor = |values: &[u32]| {
            let values: Vec<i64> = values.iter().map(|&value| i64::from(value)).collect();
            Value::from_array(([1, values.len()], values))
        };
        let mut inputs = ort::inputs![
            "input_ids" => tensor(encoding.get_ids())?,
            "attention_mask" => tensor(encoding.get_attention_mask())?,
        ];
        if self.needs_types {
            inputs.push(("token_type_ids".into(), tensor(encoding.get_type_ids())?.into()));
        }
        let outputs = self.session.run(inputs)?;
        let (shape, weights) = outputs[OUTPUT].try_extract_tensor::<f32>()?;
        if shape.len() != 2 || shape[0] != 1 {
            return Err(format!("its output has the shape {shape:?} instead of [1, terms]").into());
        }
        let heavy = (0..).zip(weights).filter(|(_, weight)| **weight > SMALLEST_WEIGHT);
        Ok(Sparse::new(heavy.map(|(id, weight)| (id, *weight)).collect()))
    }
}
