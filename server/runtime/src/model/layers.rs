//! The layers a BERT network and its heads are made of.

use super::ModelError;
use super::checkpoint::{Checkpoint, TensorData};
use super::graph::{Graph, QuantizedValue, Value};
use super::onnx::{Attribute, ElementType};
use super::quantize::QuantizedMatrix;

/// What every layer needs besides its input.
pub(super) struct Layers<'build> {
    pub(super) graph: &'build mut Graph,
    checkpoint: &'build Checkpoint<'build>,
    layer_norm_eps: f32,
    one: Value,
    half: Value,
    sqrt_2: Value,
}

impl<'build> Layers<'build> {
    /// Prepares to add layers to `graph`, their weights from `checkpoint`.
    pub(super) fn new(
        graph: &'build mut Graph,
        checkpoint: &'build Checkpoint<'build>,
        layer_norm_eps: f32,
    ) -> Self {
        let one = graph.scalar("one", 1.0);
        let half = graph.scalar("half", 0.5);
        let sqrt_2 = graph.scalar("sqrt_2", std::f32::consts::SQRT_2);
        Self { graph, checkpoint, layer_norm_eps, one, half, sqrt_2 }
    }

    /// The constant 1.
    pub(super) fn one(&self) -> Value {
        self.one.clone()
    }

    /// The full name of the encoder's layer `name`.
    pub(super) fn encoder_name(&self, name: &str) -> String {
        self.checkpoint.encoder_name(name)
    }

    /// The checkpoint's tensor `name`, of `shape`, as it is.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Value, ModelError> {
        let tensor = self.checkpoint.tensor(name, shape)?;
        Ok(self.graph.tensor(name, &tensor))
    }

    /// The checkpoint's matrix `name`, `[rows, columns]`, in eight bits, one scale a row.
    pub(super) fn quantized(
        &self,
        name: &str,
        [rows, columns]: [usize; 2],
    ) -> Result<QuantizedMatrix, ModelError> {
        let tensor = self.checkpoint.tensor(name, &[rows, columns])?;
        Ok(QuantizedMatrix::from_rows(columns, tensor.floats()))
    }

    /// The rows of the table `name`, `[rows, columns]`, that `ids` picks.
    ///
    /// The table is kept in eight bits; its scales are picked by the same ids.
    pub(super) fn embedding(
        &mut self,
        name: &str,
        [rows, columns]: [usize; 2],
        ids: &Value,
    ) -> Result<Value, ModelError> {
        let table = self.quantized(name, [rows, columns])?;
        let integers =
            self.graph.bytes(&format!("{name}.integers"), &[rows, columns], table.values());
        let scales = self.graph.floats(&format!("{name}.scales"), &[rows, 1], table.scales());
        let integers = self.graph.op("Gather", &[&integers, ids]);
        let scales = self.graph.op("Gather", &[&scales, ids]);
        let floats = self.graph.cast(&integers, ElementType::Float);
        Ok(self.graph.op("Mul", &[&floats, &scales]))
    }

    /// The linear layer `name`, `[columns of input, columns of output]`.
    pub(super) fn linear(
        &mut self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        input: &QuantizedValue,
    ) -> Result<Value, ModelError> {
        // A checkpoint keeps a row for each output; the product wants a column for each.
        let weight = self.quantized(&format!("{name}.weight"), [outputs, inputs])?;
        let integers = self.graph.product_weights(name, &weight);
        let scales = self.graph.scales(name, &weight);
        let bias = self.tensor(&format!("{name}.bias"), &[outputs])?;
        let product = self.graph.integer_product(input, &integers);
        let product = self.graph.rescale(&product, input, &scales);
        Ok(self.graph.op("Add", &[&product, &bias]))
    }

    /// The layer normalisation `name`, of `width` columns.
    pub(super) fn layer_norm(
        &mut self,
        name: &str,
        width: usize,
        input: &Value,
    ) -> Result<Value, ModelError> {
        let [gain, bias] = self.checkpoint.layer_norm(name, width)?;
        let mut add = |part: &str, tensor: &TensorData<'_>| {
            self.graph.tensor(&format!("{name}.{part}"), tensor)
        };
        let (gain, bias) = (add("weight", &gain), add("bias", &bias));
        Ok(self.graph.op_with(
            "LayerNormalization",
            &[input, &gain, &bias],
            vec![Attribute::int("axis", -1), Attribute::float("epsilon", self.layer_norm_eps)],
        ))
    }

    /// The Gaussian error linear unit, `x / 2 * (1 + erf(x / sqrt 2))`.
    pub(super) fn gelu(&mut self, input: &Value) -> Value {
        let scaled = self.graph.op("Div", &[input, &self.sqrt_2]);
        let erf = self.graph.op("Erf", &[&scaled]);
        let shifted = self.graph.op("Add", &[&erf, &self.one]);
        let product = self.graph.op("Mul", &[input, &shifted]);
        self.graph.op("Mul", &[&product, &self.half])
    }
}
