//! SPLADE (Formal et al., 2021): a BERT masked-language model whose guesses for every token are
//! pooled into one weight a word of the vocabulary.

use super::ModelError;
use super::bert::{self, BATCH, Inputs};
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::graph::{Graph, Size, Value};
use super::layers::Layers;
use super::onnx::{Attribute, ElementType};

/// The graph of the encoder, its masked-language head and the pooling.
pub(super) fn splade_model(
    checkpoint: &Checkpoint<'_>,
    config: &Config,
) -> Result<Graph, ModelError> {
    let mut graph = Graph::new("splade");
    let inputs = Inputs::declare(&mut graph);
    let mut layers = Layers::new(&mut graph, checkpoint, config.layer_norm_eps);
    let hidden = bert::encode(&mut layers, config, &inputs)?;
    let hidden = transform(&mut layers, config, &hidden)?;
    let weights = pooled_weights(&mut layers, config, &inputs.attention_mask, &hidden)?;
    graph.output("splade", &weights, &[BATCH, Size::Fixed(config.vocab_size)]);
    Ok(graph)
}

/// The head's own layer, before the words.
fn transform(
    layers: &mut Layers<'_>,
    config: &Config,
    hidden: &Value,
) -> Result<Value, ModelError> {
    let width = config.hidden_size;
    let quantized = layers.graph.quantize(hidden);
    let hidden = layers.linear("cls.predictions.transform.dense", [width, width], &quantized)?;
    let hidden = layers.gelu(&hidden);
    layers.layer_norm("cls.predictions.transform.LayerNorm", width, &hidden)
}

/// `max over the tokens that count of ln(1 + relu(logit))`, for every word.
///
/// The logits of a long text are tens of megabytes, and each pass over them costs about as much as
/// the whole encoder. All the steps from the integer product to the result are increasing (a scale
/// is positive) and the same for every token, so the maximum is taken first, on the integers, and
/// the steps are applied to one row a text. Padding is dealt with before the product: it is
/// overwritten with a token that counts, which leaves the maximum as it is. And the tokens come to
/// be the outermost dimension, so that the maximum is one of whole rows, read in memory's order.
fn pooled_weights(
    layers: &mut Layers<'_>,
    config: &Config,
    attention_mask: &Value,
    hidden: &Value,
) -> Result<Value, ModelError> {
    let hidden = without_padding(layers.graph, attention_mask, hidden);
    let tokens_first = vec![Attribute::ints("perm", &[1, 0, 2])];
    let hidden = layers.graph.op_with("Transpose", &[&hidden], tokens_first);

    // The words' output weights are their embeddings.
    let words = layers.encoder_name("embeddings.word_embeddings.weight");
    let words = layers.quantized(&words, [config.vocab_size, config.hidden_size])?;
    let (words, scales) = layers.product_weights("cls.predictions.decoder", &words);
    let bias = layers.tensor("cls.predictions.bias", &[config.vocab_size])?;

    let one = layers.one();
    let graph = &mut *layers.graph;
    let quantized = graph.quantize(&hidden);
    let logits = graph.integer_product(&quantized, &words);
    let logits = max_over(graph, 0, &logits);
    let logits = graph.rescale(&logits, &quantized, &scales);
    let logits = graph.op("Add", &[&logits, &bias]);
    let weights = graph.op("Relu", &[&logits]);
    let weights = graph.op("Add", &[&weights, &one]);
    let weights = graph.op("Log", &[&weights]);

    // A text of nothing but padding has no words.
    let any = max_over(graph, 1, attention_mask);
    let any = graph.cast(&any, ElementType::Float);
    let axes = graph.integers("any_axes", &[1]);
    let any = graph.op("Unsqueeze", &[&any, &axes]);
    Ok(graph.op("Mul", &[&weights, &any]))
}

/// `hidden` with every padding row replaced by the first row of the same text that counts.
fn without_padding(graph: &mut Graph, attention_mask: &Value, hidden: &Value) -> Value {
    let axes = graph.integers("token_axes", &[2]);
    let counts = graph.cast(attention_mask, ElementType::Bool);
    let counts = graph.op("Unsqueeze", &[&counts, &axes]);
    // The first place of the largest mask, `[batch, 1]`, picks one row of each text.
    let first = graph.op_with("ArgMax", &[attention_mask], vec![Attribute::int("axis", 1)]);
    let axes = graph.integers("row_axes", &[1]);
    let first = graph.op("Unsqueeze", &[&first, &axes]);
    let row = graph.op_with("GatherND", &[hidden, &first], vec![Attribute::int("batch_dims", 1)]);
    graph.op("Where", &[&counts, hidden, &row])
}

fn max_over(graph: &mut Graph, axis: i64, value: &Value) -> Value {
    let attributes = vec![Attribute::ints("axes", &[axis]), Attribute::int("keepdims", 0)];
    graph.op_with("ReduceMax", &[value], attributes)
}
