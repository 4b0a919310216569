//! What can go wrong when a model is built.

use std::io;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensorError};

/// Why a checkpoint could not be turned into a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file of the checkpoint cannot be read.
    #[error("cannot read {}: check that the model's download is complete", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The finished model cannot be written.
    #[error("cannot write {}: check the folder's permissions and free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// `config.json` is not JSON, or lacks a field every BERT configuration has.
    #[error("{} is not a BERT configuration: download the model again", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },

    /// `config.json` describes a network this converter does not know how to build.
    #[error("{} asks for what is not supported here: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The field, its value and what is expected.
        reason: String,
    },

    /// `model.safetensors` is cut short or otherwise not in the safetensors format.
    #[error("{} is damaged or incomplete: download the model again", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: SafeTensorError,
    },

    /// The checkpoint lacks a tensor the network needs.
    #[error("{} has no tensor `{name}`: it is not a checkpoint of this model", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor, as the checkpoint should name it.
        name: String,
    },

    /// A tensor's shape contradicts `config.json`.
    #[error(
        "tensor `{name}` has shape {found:?}, but the configuration makes it {expected:?}: \
         the two files are not of the same model"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// The shape the configuration implies.
        expected: Vec<usize>,
        /// The shape in the checkpoint.
        found: Vec<usize>,
    },

    /// A tensor is stored in another number format than 32-bit floats.
    #[error("tensor `{name}` holds {found}, but only F32 is supported: use the F32 checkpoint")]
    Precision {
        /// The tensor.
        name: String,
        /// The format in the checkpoint.
        found: Dtype,
    },

    /// A tensor holds an infinity or a NaN, which no integer can stand for.
    #[error("tensor `{name}` holds a value that is not finite: download the model again")]
    NotFinite {
        /// The tensor.
        name: String,
    },
}
