//! The weights of a checkpoint, looked up by name and checked before use.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::ModelError;

/// Put before every name of the encoder when the checkpoint also holds a head.
const ENCODER_PREFIX: &str = "bert.";
/// By which the two ways of naming the encoder's tensors are told apart.
const ENCODER_WITNESS: &str = "embeddings.word_embeddings.weight";
/// The bytes of one 32-bit float.
const FLOAT_BYTES: usize = size_of::<f32>();

/// A parsed `model.safetensors`, borrowing the file's bytes.
pub(super) struct Checkpoint<'file> {
    path: PathBuf,
    tensors: SafeTensors<'file>,
    encoder_prefix: &'static str,
}

impl<'file> Checkpoint<'file> {
    /// Reads the table of contents of `file`, the content of `path`.
    pub(super) fn parse(path: &Path, file: &'file [u8]) -> Result<Self, ModelError> {
        let tensors = SafeTensors::deserialize(file)
            .map_err(|source| ModelError::Checkpoint { path: path.to_owned(), source })?;
        let prefixed = tensors.tensor(&format!("{ENCODER_PREFIX}{ENCODER_WITNESS}")).is_ok();
        let encoder_prefix = if prefixed { ENCODER_PREFIX } else { "" };
        Ok(Self { path: path.to_owned(), tensors, encoder_prefix })
    }

    /// The full name of the encoder's tensor or layer `name`.
    pub(super) fn encoder_name(&self, name: &str) -> String {
        format!("{}{name}", self.encoder_prefix)
    }

    /// The tensor `name`, which must be of `shape` and finite.
    pub(super) fn tensor(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<TensorData<'file>, ModelError> {
        self.find(name, &[name], shape)
    }

    /// The gain and the bias of the layer normalisation `layer`, each `[width]`. They are named
    /// `weight` and `bias`, or, in checkpoints of older make, `gamma` and `beta`.
    pub(super) fn layer_norm(
        &self,
        layer: &str,
        width: usize,
    ) -> Result<[TensorData<'file>; 2], ModelError> {
        let either = |new: &str, old: &str| {
            let new = format!("{layer}.{new}");
            self.find(&new, &[&new, &format!("{layer}.{old}")], &[width])
        };
        Ok([either("weight", "gamma")?, either("bias", "beta")?])
    }

    fn find(
        &self,
        name: &str,
        candidates: &[&str],
        shape: &[usize],
    ) -> Result<TensorData<'file>, ModelError> {
        let found = candidates.iter().find_map(|candidate| match self.tensors.tensor(candidate) {
            Err(SafeTensorError::TensorNotFound(_)) => None,
            found => Some(found),
        });
        let view = match found {
            Some(Ok(view)) => view,
            Some(Err(source)) => {
                return Err(ModelError::Checkpoint { path: self.path.clone(), source });
            }
            None => {
                let (path, name) = (self.path.clone(), name.to_owned());
                return Err(ModelError::MissingTensor { path, name });
            }
        };
        if view.dtype() != Dtype::F32 {
            return Err(ModelError::Precision { name: name.to_owned(), found: view.dtype() });
        }
        if view.shape() != shape {
            return Err(ModelError::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: view.shape().to_vec(),
            });
        }
        let tensor = TensorData { shape: shape.to_vec(), bytes: view.data() };
        if !tensor.floats().all(f32::is_finite) {
            return Err(ModelError::NotFinite { name: name.to_owned() });
        }
        Ok(tensor)
    }
}

/// A tensor of 32-bit floats, row by row, still in the file's bytes.
pub(super) struct TensorData<'file> {
    shape: Vec<usize>,
    bytes: &'file [u8],
}

impl TensorData<'_> {
    /// The dimensions, outermost first.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, little-endian: as the file has them, and as ONNX wants them.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// The values in order.
    pub(super) fn floats(&self) -> impl Iterator<Item = f32> {
        let (floats, _) = self.bytes.as_chunks::<FLOAT_BYTES>();
        floats.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }
}
