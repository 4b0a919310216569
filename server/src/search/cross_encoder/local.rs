//! The cross-encoder that runs on this machine.

use super::pair::{self, PairModel};
use super::worker::Worker;
use super::{CrossEncodeError, CrossEncoder};
use crate::search::embedder::folder::ModelFolder;
use crate::search::embedder::runtime;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;

/// How many questions wait at most. There are few on purpose: who waits behind two others has
/// waited for the deadline in vain, and is better answered in the fused order at once.
const QUEUE: usize = 2;

/// What [`LocalCrossEncoder::load`] needs to know.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// A folder with `model.onnx`, `tokenizer.json` and `config.json`.
    pub model_dir: PathBuf,
    /// The ONNX Runtime library.
    pub onnxruntime: PathBuf,
}

/// Scores on one thread of this process with a local ONNX model.
///
/// Dropping it blocks for as long as the text in work takes, tens of milliseconds.
pub struct LocalCrossEncoder {
    model_id: String,
    worker: Worker,
}

impl LocalCrossEncoder {
    /// Loads the model and checks it with a first pair; takes about a second and blocks, so call it
    /// from a blocking task.
    ///
    /// # Errors
    /// [`CrossEncodeError::Unavailable`], with a sentence that says what is missing or wrong where.
    pub fn load(options: LoadOptions) -> Result<Self, CrossEncodeError> {
        let folder = ModelFolder::open(options.model_dir, None)?;
        let environment = runtime::environment(&options.onnxruntime)?;
        let tokenizer = Arc::new(pair::tokenizer(&folder)?);
        let first = PairModel::load(&folder, &environment, Arc::clone(&tokenizer))?;
        let model_id = folder.id().to_owned();
        let again = move || PairModel::load(&folder, &environment, Arc::clone(&tokenizer));
        let worker = Worker::start(first, again, QUEUE)?;
        Ok(Self { model_id, worker })
    }
}

#[async_trait]
impl CrossEncoder for LocalCrossEncoder {
    fn model_id(&self) -> &str {
        &self.model_id
    }

    async fn score(
        &self,
        question: &str,
        texts: Vec<String>,
    ) -> Result<Vec<f32>, CrossEncodeError> {
        self.worker.score(question, texts).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_a_sentence_and_no_panic() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let load = |library: &str| {
            let options = LoadOptions {
                model_dir: dir.path().to_path_buf(),
                onnxruntime: PathBuf::from(library),
            };
            LocalCrossEncoder::load(options).map(|_| ()).expect_err("nothing to load").to_string()
        };
        assert!(load("lib.so").contains("model.onnx"), "{}", load("lib.so"));
        std::fs::write(dir.path().join("model.onnx"), "weights").expect("a file");
        assert!(load("lib.so").contains("config.json"), "{}", load("lib.so"));
        std::fs::write(dir.path().join("config.json"), "{}").expect("a file");
        let error = load("no-such-folder/libonnxruntime.so");
        assert!(error.contains("no-such-folder") && error.contains("ORT_DYLIB_PATH"), "{error}");
    }
}
