//! The BERT encoder (Devlin et al., 2018): token ids in, one hidden state a token out.

use super::ModelError;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::graph::{Graph, Size, Value, dimension};
use super::layers::Layers;
use super::onnx::{Attribute, ElementType};

/// The sizes every call chooses.
pub(super) const BATCH: Size = Size::Named("batch");
const SEQUENCE: Size = Size::Named("seq");

/// The graph of the encoder alone.
pub(super) fn encoder_model(
    checkpoint: &Checkpoint<'_>,
    config: &Config,
) -> Result<Graph, ModelError> {
    let mut graph = Graph::new("bert");
    let inputs = Inputs::declare(&mut graph);
    let mut layers = Layers::new(&mut graph, checkpoint, config.layer_norm_eps);
    let hidden = encode(&mut layers, config, &inputs)?;
    graph.output("last_hidden_state", &hidden, &[BATCH, SEQUENCE, Size::Fixed(config.hidden_size)]);
    Ok(graph)
}

/// The inputs of a BERT model, each `[batch, seq]`.
pub(super) struct Inputs {
    input_ids: Value,
    /// 1 for a token that counts, 0 for padding.
    pub(super) attention_mask: Value,
    token_type_ids: Value,
}

impl Inputs {
    /// Declares the three inputs, in the order of their fields.
    pub(super) fn declare(graph: &mut Graph) -> Self {
        let mut input = |name: &str| graph.input(name, &[BATCH, SEQUENCE]);
        Self {
            input_ids: input("input_ids"),
            attention_mask: input("attention_mask"),
            token_type_ids: input("token_type_ids"),
        }
    }
}

/// Adds the embeddings and all the layers; the result is `[batch, seq, hidden_size]`.
pub(super) fn encode(
    layers: &mut Layers<'_>,
    config: &Config,
    inputs: &Inputs,
) -> Result<Value, ModelError> {
    let mut hidden = embed(layers, config, inputs)?;
    let attention = Attention::new(layers, config, &inputs.attention_mask);
    for index in 0..config.num_hidden_layers {
        let name = layers.encoder_name(&format!("encoder.layer.{index}"));
        hidden = attention.layer(layers, config, &name, &hidden)?;
        hidden = feed_forward(layers, config, &name, &hidden)?;
    }
    Ok(hidden)
}

/// The sum of a token's word, type and position embeddings, normalised.
fn embed(layers: &mut Layers<'_>, config: &Config, inputs: &Inputs) -> Result<Value, ModelError> {
    let width = config.hidden_size;
    let name = layers.encoder_name("embeddings");
    let words = layers.embedding(
        &format!("{name}.word_embeddings.weight"),
        [config.vocab_size, width],
        &inputs.input_ids,
    )?;

    // The other two tables are small, and stay in floats.
    let types = layers.tensor(
        &format!("{name}.token_type_embeddings.weight"),
        &[config.type_vocab_size, width],
    )?;
    let types = layers.graph.op("Gather", &[&types, &inputs.token_type_ids]);

    // Positions are 0, 1, 2 …: the first rows of the table, as many as the input has columns.
    let positions = layers.tensor(
        &format!("{name}.position_embeddings.weight"),
        &[config.max_position_embeddings, width],
    )?;
    let graph = &mut *layers.graph;
    let [zero, one, two] =
        [0, 1, 2].map(|index| graph.integers(&format!("index_{index}"), &[index]));
    let shape = graph.op("Shape", &[&inputs.input_ids]);
    let length = graph.op("Slice", &[&shape, &one, &two]);
    let positions = graph.op("Slice", &[&positions, &zero, &length, &zero]);

    let sum = graph.op("Add", &[&words, &types]);
    let sum = graph.op("Add", &[&sum, &positions]);
    layers.layer_norm(&format!("{name}.LayerNorm"), width, &sum)
}

/// Self-attention: the constants all layers share.
struct Attention {
    /// Added to the scores: nothing for a token that counts, as low as can be for padding.
    penalty: Value,
    split_heads: Value,
    merge_heads: Value,
    score_divisor: Value,
}

impl Attention {
    fn new(layers: &mut Layers<'_>, config: &Config, attention_mask: &Value) -> Self {
        let one = layers.one();
        let graph = &mut *layers.graph;
        let lowest = graph.scalar("lowest", f32::MIN);
        let axes = graph.integers("mask_axes", &[1, 2]);
        let mask = graph.cast(attention_mask, ElementType::Float);
        let mask = graph.op("Unsqueeze", &[&mask, &axes]);
        let padding = graph.op("Sub", &[&one, &mask]);
        let penalty = graph.op("Mul", &[&padding, &lowest]);

        // In a `Reshape`, 0 keeps the dimension there is.
        let heads = dimension(config.num_attention_heads);
        let head_size = dimension(config.head_size());
        let width = dimension(config.hidden_size);
        Self {
            penalty,
            split_heads: graph.integers("split_heads", &[0, 0, heads, head_size]),
            merge_heads: graph.integers("merge_heads", &[0, 0, width]),
            #[expect(clippy::cast_precision_loss, reason = "a head is far narrower than 2^24")]
            score_divisor: graph.scalar("score_divisor", (config.head_size() as f32).sqrt()),
        }
    }

    fn layer(
        &self,
        layers: &mut Layers<'_>,
        config: &Config,
        name: &str,
        input: &Value,
    ) -> Result<Value, ModelError> {
        let square = [config.hidden_size; 2];
        let quantized = layers.graph.quantize(input);
        let mut project = |part: &str, order: [i64; 4]| -> Result<Value, ModelError> {
            let part =
                layers.linear(&format!("{name}.attention.self.{part}"), square, &quantized)?;
            let part = layers.graph.op("Reshape", &[&part, &self.split_heads]);
            Ok(layers.graph.op_with("Transpose", &[&part], vec![Attribute::ints("perm", &order)]))
        };
        let query = project("query", [0, 2, 1, 3])?;
        let key = project("key", [0, 2, 3, 1])?;
        let value = project("value", [0, 2, 1, 3])?;

        let graph = &mut *layers.graph;
        let scores = graph.op("MatMul", &[&query, &key]);
        let scores = graph.op("Div", &[&scores, &self.score_divisor]);
        let scores = graph.op("Add", &[&scores, &self.penalty]);
        let weights = graph.op_with("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
        let context = graph.op("MatMul", &[&weights, &value]);
        let order = Attribute::ints("perm", &[0, 2, 1, 3]);
        let context = graph.op_with("Transpose", &[&context], vec![order]);
        let context = graph.op("Reshape", &[&context, &self.merge_heads]);

        let context = graph.quantize(&context);
        let output = layers.linear(&format!("{name}.attention.output.dense"), square, &context)?;
        let sum = layers.graph.op("Add", &[&output, input]);
        layers.layer_norm(&format!("{name}.attention.output.LayerNorm"), config.hidden_size, &sum)
    }
}

fn feed_forward(
    layers: &mut Layers<'_>,
    config: &Config,
    name: &str,
    input: &Value,
) -> Result<Value, ModelError> {
    let (narrow, wide) = (config.hidden_size, config.intermediate_size);
    let quantized = layers.graph.quantize(input);
    let inner = layers.linear(&format!("{name}.intermediate.dense"), [narrow, wide], &quantized)?;
    let inner = layers.gelu(&inner);
    let quantized = layers.graph.quantize(&inner);
    let output = layers.linear(&format!("{name}.output.dense"), [wide, narrow], &quantized)?;
    let sum = layers.graph.op("Add", &[&output, input]);
    layers.layer_norm(&format!("{name}.output.LayerNorm"), narrow, &sum)
}
