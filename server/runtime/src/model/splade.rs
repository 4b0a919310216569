//! SPLADE (Formal et al., 2021): a BERT masked-language model whose guesses for every token are
//! pooled into one weight a word of the vocabulary.

use super::ModelError;
use super::bert::{self, BATCH, Inputs};
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::graph::{Graph, Size, Value, dimension};
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

/// How many tokens' logits one step of the maximum compares. More rows than 16 cost it three times
/// as much a number, for it walks down the columns.
const TOKENS_AT_A_TIME: usize = 8;

/// For how many words logits are computed at a time: those of a long text then fit into the
/// processor's cache, and are compared before the next ones come.
const WORDS_AT_A_TIME: usize = 4096;

/// `max over the tokens that count of ln(1 + relu(logit))`, for every word.
///
/// The logits of a long text are tens of megabytes, and each pass over them costs about as much as
/// the whole encoder. All the steps from the integer product to the result are increasing (a scale
/// is positive) and the same for every token, so the maximum is taken first, on the integers, and
/// the steps are applied to one row a text. It is taken over [`TOKENS_AT_A_TIME`], then over what
/// remains, for [`WORDS_AT_A_TIME`]: with 64 tokens that takes two fifths of the time of one maximum
/// over everything. Padding is dealt with before the product: it is overwritten with a token that
/// counts, which leaves the maximum as it is.
fn pooled_weights(
    layers: &mut Layers<'_>,
    config: &Config,
    attention_mask: &Value,
    hidden: &Value,
) -> Result<Value, ModelError> {
    let hidden = without_padding(layers.graph, attention_mask, hidden);
    let tokens_first = vec![Attribute::ints("perm", &[1, 0, 2])];
    let hidden = layers.graph.op_with("Transpose", &[&hidden], tokens_first);
    let hidden = in_groups(layers.graph, config, &hidden);
    let quantized = layers.graph.quantize(&hidden);

    // The words' output weights are their embeddings.
    let words = layers.encoder_name("embeddings.word_embeddings.weight");
    let words = layers.quantized(&words, [config.vocab_size, config.hidden_size])?;
    let bias = layers.tensor("cls.predictions.bias", &[config.vocab_size])?;
    let one = layers.one();
    let graph = &mut *layers.graph;
    let largest: Vec<Value> = words
        .chunks(WORDS_AT_A_TIME)
        .enumerate()
        .map(|(number, words)| {
            let name = format!("cls.predictions.decoder.{number}");
            let words = graph.product_weights(&name, &words);
            let logits = graph.integer_product(&quantized, &words);
            let logits = max_over(graph, 1, &logits);
            max_over(graph, 0, &logits)
        })
        .collect();
    let largest: Vec<&Value> = largest.iter().collect();
    let logits = graph.op_with("Concat", &largest, vec![Attribute::int("axis", -1)]);
    let scales = graph.scales("cls.predictions.decoder", &words);
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

/// `hidden`, `[seq, batch, width]`, as `[groups, TOKENS_AT_A_TIME, batch, width]`: the last token is
/// repeated until the last group is full, which leaves the maximum as it is.
fn in_groups(graph: &mut Graph, config: &Config, hidden: &Value) -> Value {
    let size = dimension(TOKENS_AT_A_TIME);
    let (zero, one, three) = (
        graph.integers("groups_0", &[0]),
        graph.integers("groups_1", &[1]),
        graph.integers("groups_3", &[3]),
    );
    let group = graph.integers("group", &[size]);
    let filling = graph.integers("group_filling", &[size - 1]);
    // every place there can be, up to the end of a last group
    let places = config.max_position_embeddings.next_multiple_of(TOKENS_AT_A_TIME);
    let places = graph.integers("places", &(0..dimension(places)).collect::<Vec<_>>());

    let shape = graph.op("Shape", &[hidden]);
    let length = graph.op("Slice", &[&shape, &zero, &one]);
    let last = graph.op("Sub", &[&length, &one]);
    let full = graph.op("Add", &[&length, &filling]);
    let full = graph.op("Div", &[&full, &group]);
    let full = graph.op("Mul", &[&full, &group]);
    let places = graph.op("Slice", &[&places, &zero, &full]);
    let places = graph.op("Min", &[&places, &last]);
    let hidden = graph.op_with("Gather", &[hidden, &places], vec![Attribute::int("axis", 0)]);

    let rest = graph.op("Slice", &[&shape, &one, &three]);
    let groups = graph.integers("groups", &[-1, size]);
    let shape = graph.op_with("Concat", &[&groups, &rest], vec![Attribute::int("axis", 0)]);
    graph.op("Reshape", &[&hidden, &shape])
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
