//! The files of a model, where they lie, and what identifies the model.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::EmbedError;

/// The name of the model that `minilm/` holds: its `config.json` names the model it was trained
/// from instead.
const MINILM_NAME: &str = "all-MiniLM-L6-v2";
const SPLADE_NAME: &str = "SPLADE-tiny";

/// How many bytes of a checksum a model's id shows.
const CHECKSUM_BYTES: usize = 4;

/// Where in a model file to look for the names of its operators: they precede the weights.
const OPERATORS_WITHIN_BYTES: usize = 1 << 20;

/// The models that a folder offers.
#[derive(Debug, Clone)]
pub(super) struct Models {
    pub(super) dense: ModelFolder,
    pub(super) splade: Option<ModelFolder>,
}

impl Models {
    /// Looks for `minilm/` (and `splade/`) in `dir`, then for a model in `dir` itself.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`] when neither is there.
    pub(super) fn find(dir: &Path) -> Result<Self, EmbedError> {
        let bundled = dir.join("minilm");
        let dense = if bundled.join(ModelFolder::MODEL).is_file() {
            ModelFolder::open(bundled, Some(MINILM_NAME))?
        } else if dir.join(ModelFolder::MODEL).is_file() {
            ModelFolder::open(dir.to_path_buf(), None)?
        } else {
            return Err(EmbedError::Unavailable(format!(
                "{} holds neither minilm/{file} nor {file}; point SWITCHY_MODEL_DIR at a folder \
                 with an ONNX model and its tokenizer files",
                dir.display(),
                file = ModelFolder::MODEL,
            )));
        };
        // A folder that is there but incomplete is an error: reranking must not vanish silently.
        let splade = dir.join("splade");
        let splade = splade.is_dir().then(|| ModelFolder::open(splade, Some(SPLADE_NAME)));
        Ok(Self { dense, splade: splade.transpose()? })
    }
}

/// One model's folder.
#[derive(Debug, Clone)]
pub(in crate::search) struct ModelFolder {
    dir: PathBuf,
    id: String,
    checksum: [u8; 32],
}

impl ModelFolder {
    const MODEL: &str = "model.onnx";

    /// The model in `dir`, called `name` or else what [`given_name`] says.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`] when there is none, or nothing names it.
    pub(in crate::search) fn open(dir: PathBuf, name: Option<&str>) -> Result<Self, EmbedError> {
        let model = read(&dir, Self::MODEL)?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => given_name(&dir)?,
        };
        let checksum: [u8; 32] = Sha256::digest(&model).into();
        let short: String =
            checksum[..CHECKSUM_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id: format!("{name}/{}/{short}", precision(&model)), dir, checksum })
    }

    /// `name/precision/checksum`.
    pub(in crate::search) fn id(&self) -> &str {
        &self.id
    }

    /// The model's bytes.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`] when the file cannot be read, or is no longer the one that
    /// [`ModelFolder::id`] names: a thread that reloads must not mix two models' vectors.
    pub(in crate::search) fn model(&self) -> Result<Vec<u8>, EmbedError> {
        let model = read(&self.dir, Self::MODEL)?;
        if <[u8; 32]>::from(Sha256::digest(&model)) != self.checksum {
            return Err(EmbedError::Unavailable(format!(
                "{} has changed since the server started; restart the server",
                self.dir.join(Self::MODEL).display()
            )));
        }
        Ok(model)
    }

    /// The bytes of a file beside the model.
    pub(in crate::search) fn file(&self, name: &str) -> Result<Vec<u8>, EmbedError> {
        read(&self.dir, name)
    }

    /// Whether there is such a file.
    pub(in crate::search) fn has(&self, name: &str) -> bool {
        self.dir.join(name).is_file()
    }

    /// The error that says what is wrong with this model.
    pub(in crate::search) fn unusable(&self, what: impl std::fmt::Display) -> EmbedError {
        EmbedError::Unavailable(format!(
            "the model in {} cannot be used: {what}",
            self.dir.display()
        ))
    }
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, EmbedError> {
    let path = dir.join(name);
    fs::read(&path).map_err(|error| {
        EmbedError::Unavailable(format!(
            "the model file {} cannot be read: {error}",
            path.display()
        ))
    })
}

/// The last part of the configuration's `_name_or_path`, or else the folder's name.
fn given_name(dir: &Path) -> Result<String, EmbedError> {
    let config: serde_json::Value =
        serde_json::from_slice(&read(dir, "config.json")?).map_err(|error| {
            EmbedError::Unavailable(format!(
                "{} is not valid JSON: {error}",
                dir.join("config.json").display()
            ))
        })?;
    let configured = config["_name_or_path"]
        .as_str()
        .and_then(|path| path.rsplit('/').find(|part| !part.is_empty()));
    let folder = dir.file_name().and_then(|name| name.to_str());
    Ok(configured.or(folder).unwrap_or("model").to_owned())
}

/// Whether the model computes with quantised weights, seen by the operators it uses.
fn precision(model: &[u8]) -> &'static str {
    const QUANTISED: [&[u8]; 4] =
        [b"MatMulInteger", b"DynamicQuantizeLinear", b"DequantizeLinear", b"QLinearMatMul"];
    let graph = &model[..model.len().min(OPERATORS_WITHIN_BYTES)];
    let uses = |operator: &[u8]| graph.windows(operator.len()).any(|bytes| bytes == operator);
    if QUANTISED.into_iter().any(uses) { "int8" } else { "float" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, contents) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, contents).expect("a file");
        }
        dir
    }

    #[test]
    fn the_bundled_layout_is_found_with_and_without_splade() {
        let dir = folder(&[("minilm/model.onnx", "..MatMulInteger.."), ("model.onnx", "other")]);
        let models = Models::find(dir.path()).expect("models");
        let expected = "all-MiniLM-L6-v2/int8/";
        assert!(models.dense.id().starts_with(expected), "{}", models.dense.id());
        assert_eq!(models.dense.id().len(), expected.len() + 2 * CHECKSUM_BYTES);
        assert!(models.splade.is_none());

        fs::create_dir(dir.path().join("splade")).expect("a folder");
        let incomplete = Models::find(dir.path()).expect_err("no model in splade/");
        assert!(incomplete.to_string().contains("splade"), "{incomplete}");
        fs::write(dir.path().join("splade/model.onnx"), "weights").expect("a file");
        let splade = Models::find(dir.path()).expect("models").splade.expect("splade");
        assert!(splade.id().starts_with("SPLADE-tiny/float/"), "{}", splade.id());
    }

    #[test]
    fn a_folder_of_ones_own_is_named_by_its_configuration() {
        let dir = folder(&[
            ("model.onnx", "weights"),
            ("config.json", r#"{"_name_or_path": "someone/bge-small-en-v1.5/"}"#),
        ]);
        let models = Models::find(dir.path()).expect("models");
        assert!(models.dense.id().starts_with("bge-small-en-v1.5/float/"), "{}", models.dense.id());
    }

    #[test]
    fn a_folder_of_ones_own_without_a_configured_name_goes_by_the_folders() {
        let dir = folder(&[("mine/model.onnx", "weights"), ("mine/config.json", "{}")]);
        let models = Models::find(&dir.path().join("mine")).expect("models");
        assert!(models.dense.id().starts_with("mine/float/"), "{}", models.dense.id());
    }

    #[test]
    fn a_folder_without_a_model_says_what_is_missing() {
        let dir = folder(&[]);
        let error = Models::find(dir.path()).expect_err("an empty folder").to_string();
        assert!(error.contains("minilm/model.onnx"), "{error}");
        assert!(error.contains("SWITCHY_MODEL_DIR"), "{error}");
    }

    #[test]
    fn a_model_that_changed_under_the_server_is_refused() {
        let dir = folder(&[("model.onnx", "one"), ("config.json", "{}")]);
        let models = Models::find(dir.path()).expect("models");
        assert_eq!(models.dense.model().expect("the same file"), b"one");
        fs::write(dir.path().join("model.onnx"), "two").expect("a file");
        let error = models.dense.model().expect_err("another file").to_string();
        assert!(error.contains("restart"), "{error}");
    }
}
