//! The embedder that runs on this machine.

use std::{num::NonZero, path::PathBuf, thread};

use async_trait::async_trait;

use super::{
    EmbedError, Embedder, NoteEmbedding, Owner, QueryEmbedding, engine::Onnx, folder::Models,
    pool::Pool, runtime,
};

/// How many requests wait at most, unless configured: at 2 cores about half a second of queries.
pub const DEFAULT_QUEUE: usize = 256;

/// One thread for each core this process may use.
pub fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What [`LocalEmbedder::load`] needs to know.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// A folder with `minilm/` and, if search is to rerank, `splade/`; or with a model of one's own
    /// (`model.onnx`, `tokenizer.json`, `tokenizer_config.json`, `config.json`, and perhaps
    /// `special_tokens_map.json`, `1_Pooling/config.json`, `splade/`).
    pub model_dir: PathBuf,
    /// The ONNX Runtime library.
    pub onnxruntime: PathBuf,
    /// How many texts are embedded at the same time, at least 1. Each thread owns its models (about
    /// 100 MB) and computes on one core; see [`default_threads`].
    pub threads: usize,
    /// How many requests may wait, at least 1; notes leave a quarter of it to queries.
    pub queue: usize,
}

/// Embeds on threads of this process with local ONNX models.
///
/// Dropping it blocks for as long as the passages in work take, tens of milliseconds.
pub struct LocalEmbedder {
    model_id: String,
    sparse_model_id: Option<String>,
    pool: Pool,
}

impl LocalEmbedder {
    /// Loads the models and checks them with a first text; takes about a second and blocks, so
    /// call it from a blocking task. All embedders of a process share the first one's ONNX Runtime.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`], with a sentence that says what is missing or wrong where.
    pub fn load(options: LoadOptions) -> Result<Self, EmbedError> {
        // Every thread is busy with its own text: a pool within each would only compete.
        tokenizers::utils::parallelism::set_parallelism(false);
        let models = Models::find(&options.model_dir)?;
        let environment = runtime::environment(&options.onnxruntime)?;
        // The first one is loaded here, so that what is wrong is known before anything starts.
        let first = Onnx::load(&models, &environment)?;
        let (model_id, sparse_model_id) = (
            models.dense.id().to_owned(),
            models.splade.as_ref().map(|splade| splade.id().to_owned()),
        );
        let again = first.again(models, environment);
        let pool = Pool::start(first, again, options.threads, options.queue)?;
        Ok(Self { model_id, sparse_model_id, pool })
    }
}

#[async_trait]
impl Embedder for LocalEmbedder {
    fn model_id(&self) -> &str {
        &self.model_id
    }

    fn sparse_model_id(&self) -> Option<&str> {
        self.sparse_model_id.as_deref()
    }

    async fn embed_query(&self, text: &str) -> Result<QueryEmbedding, EmbedError> {
        self.pool.query(text).await
    }

    async fn embed_note(&self, text: &str, owner: &Owner) -> Result<NoteEmbedding, EmbedError> {
        self.pool.note(text, owner).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(model_dir: PathBuf) -> String {
        let options = LoadOptions {
            model_dir,
            onnxruntime: PathBuf::from("no-such-folder/libonnxruntime.so"),
            threads: 1,
            queue: 1,
        };
        LocalEmbedder::load(options).map(|_| ()).expect_err("nothing to load").to_string()
    }

    #[test]
    fn a_missing_model_is_a_sentence() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = load(dir.path().join("absent"));
        assert!(error.contains("absent") && error.contains("SWITCHY_MODEL_DIR"), "{error}");
    }

    #[test]
    fn a_missing_library_is_a_sentence_and_no_panic() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, contents) in [("model.onnx", "weights"), ("config.json", "{}")] {
            std::fs::write(dir.path().join(name), contents).expect("a file");
        }
        let error = load(dir.path().to_path_buf());
        assert!(error.contains("no-such-folder") && error.contains("ORT_DYLIB_PATH"), "{error}");
    }
}
