//! A computation graph under construction: values flow from inputs and constants through operators.

use super::checkpoint::TensorData;
use super::onnx::{
    Attribute, Dimension, ElementType, GraphMessage, IR_VERSION, Model, Node, OPSET_VERSION,
    OperatorSet, Shape, Tensor, TensorType, ValueInfo, ValueType,
};
use super::quantize::QuantizedMatrix;

/// Who made the model, as its file tells. Part of the file's bytes, and so of its checksum.
const PRODUCER: &str = "switchy";

/// A tensor of the graph: an input, a constant or what an operator gives.
#[derive(Clone, Debug)]
pub(super) struct Value(String);

/// A value in eight bits, the scale and zero point found anew for each input.
///
/// It is a type of its own so that layers reading the same value share one quantisation.
pub(super) struct QuantizedValue {
    integers: Value,
    scale: Value,
    zero_point: Value,
}

/// One dimension of an input or an output.
pub(super) enum Size {
    /// Chosen by every call; the same name means the same size.
    Named(&'static str),
    /// Always this.
    Fixed(usize),
}

/// The graph so far. Names are given in the order of construction, so that the same construction
/// gives the same file.
pub(super) struct Graph {
    name: &'static str,
    nodes: Vec<Node>,
    constants: Vec<Tensor>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
}

impl Graph {
    /// A graph without nodes.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            nodes: Vec::new(),
            constants: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Declares an input of integers.
    pub(super) fn input(&mut self, name: &str, sizes: &[Size]) -> Value {
        self.inputs.push(value_info(name, ElementType::Int64, sizes));
        Value(name.to_owned())
    }

    /// Declares that `value`, of floats, is given out as `name`.
    pub(super) fn output(&mut self, name: &str, value: &Value, sizes: &[Size]) {
        self.push_node("Identity", &[value], vec![name.to_owned()], Vec::new());
        self.outputs.push(value_info(name, ElementType::Float, sizes));
    }

    /// Applies an operator that has one output and no attributes.
    pub(super) fn op(&mut self, op_type: &str, inputs: &[&Value]) -> Value {
        self.op_with(op_type, inputs, Vec::new())
    }

    /// Applies an operator that has one output.
    pub(super) fn op_with(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: Vec<Attribute>,
    ) -> Value {
        let output = self.next_name(op_type);
        self.push_node(op_type, inputs, vec![output.clone()], attributes);
        Value(output)
    }

    /// Converts the elements of `value`.
    pub(super) fn cast(&mut self, value: &Value, to: ElementType) -> Value {
        self.op_with("Cast", &[value], vec![Attribute::int("to", to as i64)])
    }

    /// Quantises `value` to eight bits, over its whole range in each input.
    pub(super) fn quantize(&mut self, value: &Value) -> QuantizedValue {
        let name = self.next_name("DynamicQuantizeLinear");
        let [integers, scale, zero_point] =
            ["integers", "scale", "zero_point"].map(|part| format!("{name}.{part}"));
        let outputs = vec![integers.clone(), scale.clone(), zero_point.clone()];
        self.push_node("DynamicQuantizeLinear", &[value], outputs, Vec::new());
        QuantizedValue {
            integers: Value(integers),
            scale: Value(scale),
            zero_point: Value(zero_point),
        }
    }

    /// Multiplies by eight-bit weights `[in, out]`; the product is in 32-bit integers.
    pub(super) fn integer_product(&mut self, left: &QuantizedValue, weights: &Value) -> Value {
        self.op("MatMulInteger", &[&left.integers, weights, &left.zero_point])
    }

    /// Gives an integer product of `left` its size in floats; `scales` is the weights', `[out]`.
    pub(super) fn rescale(
        &mut self,
        product: &Value,
        left: &QuantizedValue,
        scales: &Value,
    ) -> Value {
        // Exactly this pattern: inference engines know it and run it, with the product before it
        // and the bias after it, as one operator.
        let scale = self.op("Mul", &[&left.scale, scales]);
        let product = self.cast(product, ElementType::Float);
        self.op("Mul", &[&product, &scale])
    }

    /// Adds the floats of a checkpoint as they are.
    pub(super) fn tensor(&mut self, name: &str, tensor: &TensorData<'_>) -> Value {
        self.constant(name, ElementType::Float, tensor.shape(), tensor.bytes().to_vec())
    }

    /// Adds floats, of `shape`.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, ElementType::Float, shape, bytes)
    }

    /// Adds a single float.
    pub(super) fn scalar(&mut self, name: &str, value: f32) -> Value {
        self.floats(name, &[], &[value])
    }

    /// Adds a list of integers.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, ElementType::Int64, &[values.len()], bytes)
    }

    /// Adds eight-bit weights, of `shape`.
    pub(super) fn bytes(&mut self, name: &str, shape: &[usize], values: &[i8]) -> Value {
        let bytes = values.iter().map(|value| value.cast_unsigned()).collect();
        self.constant(name, ElementType::Int8, shape, bytes)
    }

    /// Adds `weight`, one row an output of the layer `name`, as the right side of an integer product.
    pub(super) fn product_weights(&mut self, name: &str, weight: &QuantizedMatrix) -> Value {
        let shape = [weight.columns(), weight.rows()];
        self.bytes(&format!("{name}.weight.integers"), &shape, &weight.transposed_values())
    }

    /// Adds the scales of `weight`, one an output of the layer `name`.
    pub(super) fn scales(&mut self, name: &str, weight: &QuantizedMatrix) -> Value {
        self.floats(&format!("{name}.weight.scales"), &[weight.rows()], weight.scales())
    }

    /// The finished model.
    pub(super) fn into_model(self) -> Model {
        Model {
            ir_version: Some(IR_VERSION),
            producer_name: Some(PRODUCER.to_owned()),
            graph: Some(GraphMessage {
                node: self.nodes,
                name: Some(self.name.to_owned()),
                initializer: self.constants,
                input: self.inputs,
                output: self.outputs,
            }),
            opset_import: vec![OperatorSet {
                domain: Some(String::new()),
                version: Some(OPSET_VERSION),
            }],
        }
    }

    fn constant(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Value {
        self.constants.push(Tensor {
            dims: shape.iter().map(|size| dimension(*size)).collect(),
            data_type: Some(element as i32),
            name: Some(name.to_owned()),
            raw_data: Some(bytes),
        });
        Value(name.to_owned())
    }

    fn next_name(&self, op_type: &str) -> String {
        format!("{op_type}_{}", self.nodes.len())
    }

    fn push_node(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        outputs: Vec<String>,
        attributes: Vec<Attribute>,
    ) {
        self.nodes.push(Node {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs,
            name: Some(self.next_name(op_type)),
            op_type: Some(op_type.to_owned()),
            attribute: attributes,
        });
    }
}

fn value_info(name: &str, element: ElementType, sizes: &[Size]) -> ValueInfo {
    let dim = sizes
        .iter()
        .map(|size| match size {
            Size::Named(name) => Dimension { value: None, parameter: Some((*name).to_owned()) },
            Size::Fixed(size) => Dimension { value: Some(dimension(*size)), parameter: None },
        })
        .collect();
    let tensor = TensorType { element: Some(element as i32), shape: Some(Shape { dim }) };
    ValueInfo { name: Some(name.to_owned()), kind: Some(ValueType { tensor: Some(tensor) }) }
}

/// A size as the file format and the shape operators have it. A size counts something that is in
/// memory, so it never comes near the limit.
pub(super) fn dimension(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
