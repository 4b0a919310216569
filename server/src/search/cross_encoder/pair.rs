//! The model: a question and a text in, one number out.

use super::CrossEncodeError;
use super::worker::Judge;
use crate::search::embedder::folder::ModelFolder;
use crate::search::embedder::runtime;
use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::Value;
use std::borrow::Cow;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokenizers::{Tokenizer, TruncationParams, TruncationStrategy};

/// The longest pair given to a model, in word pieces, with the special ones: a passage of a long
/// note, and a question.
pub const MAX_PAIR: usize = 256;

/// The fewest word pieces that a model must read for a pair to make sense.
const FEWEST: usize = 32;

/// The output that holds the number, where there are several.
const OUTPUT: &str = "logits";
/// The inputs that a model may have; the first it must have.
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// The pair that a model is tried with.
const FIRST_QUESTION: &str = "Which model is this?";
/// Repeated until the model cannot read more of it: what is too long for it shows at once.
const FIRST_TEXT: &str = "It reads a question and a text together. ";

type Failure = Box<dyn Error + Send + Sync>;

/// The tokenizer of the model in `folder`, cutting pairs at what the model is given at most.
///
/// # Errors
/// [`CrossEncodeError::Unavailable`] when a file is missing or unusable.
pub(super) fn tokenizer(folder: &ModelFolder) -> Result<Tokenizer, CrossEncodeError> {
    let mut tokenizer = Tokenizer::from_bytes(folder.file("tokenizer.json")?)
        .map_err(|error| folder.unusable(error))?;
    tokenizer.with_padding(None);
    let limit = TruncationParams {
        max_length: readable(folder)?,
        // of a question as long as a note, both are cut
        strategy: TruncationStrategy::LongestFirst,
        ..TruncationParams::default()
    };
    tokenizer.with_truncation(Some(limit)).map_err(|error| folder.unusable(error))?;
    Ok(tokenizer)
}

/// How many word pieces the model is given at most.
fn readable(folder: &ModelFolder) -> Result<usize, CrossEncodeError> {
    let config: serde_json::Value = serde_json::from_slice(&folder.file("config.json")?)
        .map_err(|error| folder.unusable(error))?;
    let Some(most) = config["max_position_embeddings"].as_u64() else { return Ok(MAX_PAIR) };
    let most = usize::try_from(most).unwrap_or(MAX_PAIR).min(MAX_PAIR);
    if most < FEWEST {
        return Err(folder.unusable(format!("it reads only {most} word pieces at a time")).into());
    }
    Ok(most)
}

/// One instance of the model; computes on the calling thread alone.
pub(super) struct PairModel {
    session: Session,
    tokenizer: Arc<Tokenizer>,
    /// Which of [`INPUTS`] it takes.
    inputs: Vec<&'static str>,
    output: String,
}

impl PairModel {
    /// Loads the model and scores one pair to see that it fits.
    ///
    /// # Errors
    /// [`CrossEncodeError::Unavailable`] when a file is missing or unusable, or when what comes out
    /// is not one number (or one each for "no" and "yes").
    pub(super) fn load(
        folder: &ModelFolder,
        environment: &Environment,
        tokenizer: Arc<Tokenizer>,
    ) -> Result<Self, CrossEncodeError> {
        let session = runtime::session(environment, &folder.model()?)
            .map_err(|error| folder.unusable(error))?;
        let inputs = inputs(&session).map_err(|error| folder.unusable(error))?;
        let output = output(&session).map_err(|error| folder.unusable(error))?;
        let mut model = Self { session, tokenizer, inputs, output };
        let text = FIRST_TEXT.repeat(MAX_PAIR);
        // Libraries assert on foreign models: a panic is an answer, too.
        catch_unwind(AssertUnwindSafe(|| model.run(FIRST_QUESTION, &text)))
            .unwrap_or_else(|_| Err("it panicked on a first pair".into()))
            .map_err(|error| folder.unusable(error))?;
        Ok(model)
    }

    fn run(&mut self, question: &str, text: &str) -> Result<f32, Failure> {
        let encoding = self.tokenizer.encode((question, text), true)?;
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        for name in &self.inputs {
            let values = match *name {
                "input_ids" => encoding.get_ids(),
                "attention_mask" => encoding.get_attention_mask(),
                _ => encoding.get_type_ids(),
            };
            let values: Vec<i64> = values.iter().map(|&value| i64::from(value)).collect();
            let tensor = Value::from_array(([1, values.len()], values))?;
            inputs.push(((*name).into(), tensor.into()));
        }
        let outputs = self.session.run(inputs)?;
        let (shape, numbers) = outputs[self.output.as_str()].try_extract_tensor::<f32>()?;
        Ok(relevance(shape, numbers)?)
    }
}

impl Judge for PairModel {
    fn score(&mut self, question: &str, text: &str) -> Result<f32, CrossEncodeError> {
        self.run(question, text).map_err(|error| CrossEncodeError::Failed(error.to_string()))
    }
}

/// Which inputs the model takes.
fn inputs(session: &Session) -> Result<Vec<&'static str>, String> {
    let names: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
    let foreign = names.iter().find(|name| !INPUTS.contains(name));
    match foreign {
        Some(name) => {
            Err(format!("it has an input named {name}; the inputs may be {}", INPUTS.join(", ")))
        }
        None if !names.contains(&INPUTS[0]) => Err(format!("it has no input named {}", INPUTS[0])),
        None => Ok(INPUTS.into_iter().filter(|name| names.contains(name)).collect()),
    }
}

/// Which output holds the number.
fn output(session: &Session) -> Result<String, String> {
    let names: Vec<&str> = session.outputs().iter().map(|output| output.name()).collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        _ if names.contains(&OUTPUT) => Ok(OUTPUT.to_owned()),
        _ => Err(format!("of its outputs ({}) none is named {OUTPUT}", names.join(", "))),
    }
}

/// The number in the output for one pair; of two, for "no" and "yes", the difference.
fn relevance(shape: &[i64], numbers: &[f32]) -> Result<f32, String> {
    let number = match (shape, numbers) {
        ([1] | [1, 1], [number]) => *number,
        ([1, 2], [no, yes]) => yes - no,
        _ => {
            return Err(format!(
                "its output for a pair has the shape {shape:?} instead of [1, 1] or [1, 2]; \
                 choose a cross-encoder, which gives a question and a text one number"
            ));
        }
    };
    if number.is_finite() { Ok(number) } else { Err(format!("it gave {number} for a pair")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_or_the_difference_of_two() {
        assert_eq!(relevance(&[1], &[0.5]), Ok(0.5));
        assert_eq!(relevance(&[1, 1], &[-0.5]), Ok(-0.5));
        assert_eq!(relevance(&[1, 2], &[1.0, 4.0]), Ok(3.0));
    }

    #[test]
    fn anything_else_is_a_sentence() {
        let others: [(&[i64], &[f32]); 6] = [
            (&[], &[0.5]),
            (&[2], &[0.5, 0.5]),
            (&[1, 3], &[0.1, 0.2, 0.3]),
            (&[1, 1, 1], &[0.5]),
            (&[1, 0], &[]),
            // an embedding model
            (&[1, 2, 2], &[0.1, 0.2, 0.3, 0.4]),
        ];
        for (shape, numbers) in others {
            let error = relevance(shape, numbers).expect_err("no cross-encoder");
            assert!(error.contains(&format!("{shape:?}")), "{error}");
        }
        assert!(relevance(&[1], &[f32::NAN]).is_err());
        assert!(relevance(&[1, 2], &[f32::INFINITY, f32::INFINITY]).is_err());
    }
}
