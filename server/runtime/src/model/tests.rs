//! The converter on a checkpoint small enough to make here: one layer, eight columns.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use prost::Message as _;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::checkpoint::Checkpoint;
use super::onnx::{ElementType, GraphMessage, Model, ValueInfo};
use super::{ModelError, build_minilm, build_splade};

const HIDDEN: usize = 8;
const INTERMEDIATE: usize = 12;
const VOCABULARY: usize = 20;
const POSITIONS: usize = 6;

/// A checkpoint to be spoiled by a test before it is written.
struct Tiny {
    config: Json,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Tiny {
    /// An encoder as MiniLM is published: no prefix, new names.
    fn minilm() -> Self {
        Self::encoder("", ["weight", "bias"])
    }

    /// A masked-language model as SPLADE is published: a prefix, old names, a head.
    fn splade() -> Self {
        let mut tiny = Self::encoder("bert.", ["gamma", "beta"]);
        tiny.add("cls.predictions.transform.dense.weight", &[HIDDEN, HIDDEN]);
        tiny.add("cls.predictions.transform.dense.bias", &[HIDDEN]);
        tiny.add("cls.predictions.transform.LayerNorm.gamma", &[HIDDEN]);
        tiny.add("cls.predictions.transform.LayerNorm.beta", &[HIDDEN]);
        tiny.add("cls.predictions.bias", &[VOCABULARY]);
        tiny
    }

    fn encoder(prefix: &str, [gain, bias]: [&str; 2]) -> Self {
        let config = json!({
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": POSITIONS,
        });
        let mut tiny = Self { config, tensors: BTreeMap::new() };
        let embeddings = format!("{prefix}embeddings");
        let layer = format!("{prefix}encoder.layer.0");
        tiny.add(&format!("{embeddings}.word_embeddings.weight"), &[VOCABULARY, HIDDEN]);
        tiny.add(&format!("{embeddings}.position_embeddings.weight"), &[POSITIONS, HIDDEN]);
        tiny.add(&format!("{embeddings}.token_type_embeddings.weight"), &[2, HIDDEN]);
        for (name, inputs, outputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", HIDDEN, INTERMEDIATE),
            ("output.dense", INTERMEDIATE, HIDDEN),
        ] {
            tiny.add(&format!("{layer}.{name}.weight"), &[outputs, inputs]);
            tiny.add(&format!("{layer}.{name}.bias"), &[outputs]);
        }
        for name in [
            format!("{embeddings}.LayerNorm"),
            format!("{layer}.attention.output.LayerNorm"),
            format!("{layer}.output.LayerNorm"),
        ] {
            tiny.add(&format!("{name}.{gain}"), &[HIDDEN]);
            tiny.add(&format!("{name}.{bias}"), &[HIDDEN]);
        }
        tiny
    }

    /// Adds a tensor of varied values between -1 and 1, the same on every machine.
    fn add(&mut self, name: &str, shape: &[usize]) {
        let mut state = name.bytes().fold(7_u32, |hash, byte| step(hash ^ u32::from(byte)));
        let values = (0..shape.iter().product())
            .map(|_| {
                state = step(state);
                let [.., low, high] = state.to_le_bytes();
                f32::from(i16::from_le_bytes([low, high])) / 32768.0
            })
            .collect();
        self.tensors.insert(name.to_owned(), (shape.to_vec(), values));
    }

    fn file(&self) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> = self
            .tensors
            .values()
            .map(|(_, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = self.tensors.iter().zip(&bytes).map(|((name, (shape, _)), bytes)| {
            (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("shape fits values"))
        });
        safetensors::serialize(views, None).expect("tensors serialise")
    }

    /// The checkpoint's two files in a folder of their own.
    fn folder(&self) -> TempDir {
        let folder = TempDir::new().expect("temporary folder");
        let path = folder.path();
        fs::write(path.join("config.json"), self.config.to_string()).expect("config written");
        fs::write(path.join("model.safetensors"), self.file()).expect("weights written");
        folder
    }

    fn build(&self, build: Build) -> Result<Vec<u8>, ModelError> {
        let (source, out) = (self.folder(), TempDir::new().expect("temporary folder"));
        build(source.path(), out.path())?;
        Ok(fs::read(out.path().join("model.onnx")).expect("the model was written"))
    }

    fn minilm_error(&self) -> ModelError {
        self.build(build_minilm).expect_err("the checkpoint is spoiled")
    }
}

type Build = fn(&Path, &Path) -> Result<(), ModelError>;

/// One step of a linear congruential generator.
fn step(state: u32) -> u32 {
    state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
}

fn graph_of(model: &[u8]) -> GraphMessage {
    Model::decode(model).expect("the model decodes").graph.expect("the model has a graph")
}

fn count(graph: &GraphMessage, op_type: &str) -> usize {
    graph.node.iter().filter(|node| node.op_type() == op_type).count()
}

/// Name, element type and dimensions, the named ones as `name` and the fixed ones as `8`.
fn describe(info: &ValueInfo) -> (String, i32, String) {
    let tensor = info.kind.as_ref().and_then(|kind| kind.tensor.as_ref()).expect("a tensor");
    let dims: Vec<String> = tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| dim.parameter.clone().unwrap_or_else(|| dim.value().to_string()))
        .collect();
    (info.name().to_owned(), tensor.element(), dims.join(","))
}

/// A graph is in order when every name is given once, and before it is used.
fn assert_in_order(graph: &GraphMessage) {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let inputs = graph.input.iter().map(ValueInfo::name);
    let constants = graph.initializer.iter().map(|tensor| tensor.name());
    for name in inputs.chain(constants) {
        assert!(known.insert(name), "{name} is given twice");
    }
    for node in &graph.node {
        for name in &node.input {
            assert!(known.contains(name.as_str()), "{} uses {name} too early", node.name());
        }
        for name in &node.output {
            assert!(known.insert(name), "{name} is given twice");
        }
    }
    for output in &graph.output {
        assert!(known.contains(output.name()), "nothing gives {}", output.name());
    }
}

fn assert_constants_fill_their_shapes(graph: &GraphMessage) {
    for tensor in &graph.initializer {
        let size = match tensor.data_type() {
            kind if kind == ElementType::Float as i32 => 4,
            kind if kind == ElementType::Int8 as i32 => 1,
            kind if kind == ElementType::Int64 as i32 => 8,
            kind => panic!("{} is of unexpected type {kind}", tensor.name()),
        };
        let elements: i64 = tensor.dims.iter().product();
        let bytes = i64::try_from(tensor.raw_data().len()).expect("small");
        assert_eq!(bytes, elements * size, "{}", tensor.name());
    }
}

#[test]
fn minilm_gives_the_hidden_state_of_every_token() {
    let model = Tiny::minilm().build(build_minilm).expect("the model is built");
    let graph = graph_of(&model);
    assert_in_order(&graph);
    assert_constants_fill_their_shapes(&graph);

    let inputs: Vec<_> = graph.input.iter().map(describe).collect();
    let int64 = ElementType::Int64 as i32;
    assert_eq!(
        inputs,
        ["input_ids", "attention_mask", "token_type_ids"].map(|name| (
            name.to_owned(),
            int64,
            "batch,seq".to_owned()
        ))
    );
    let outputs: Vec<_> = graph.output.iter().map(describe).collect();
    let float = ElementType::Float as i32;
    assert_eq!(outputs, [("last_hidden_state".to_owned(), float, "batch,seq,8".to_owned())]);
}

#[test]
fn splade_gives_a_weight_for_every_word() {
    let model = Tiny::splade().build(build_splade).expect("the model is built");
    let graph = graph_of(&model);
    assert_in_order(&graph);
    assert_constants_fill_their_shapes(&graph);

    let outputs: Vec<_> = graph.output.iter().map(describe).collect();
    let float = ElementType::Float as i32;
    assert_eq!(outputs, [("splade".to_owned(), float, format!("batch,{VOCABULARY}"))]);
}

#[test]
fn a_layer_quantises_each_value_once_however_many_products_read_it() {
    let graph = graph_of(&Tiny::minilm().build(build_minilm).expect("the model is built"));
    // Query, key and value share one; then the context, the layer's middle and its inside.
    assert_eq!(count(&graph, "DynamicQuantizeLinear"), 4);
    assert_eq!(count(&graph, "MatMulInteger"), 6);
    // Only the attention itself multiplies floats.
    assert_eq!(count(&graph, "MatMul"), 2);
}

#[test]
fn the_model_declares_the_versions_it_is_written_for() {
    let model = Tiny::minilm().build(build_minilm).expect("the model is built");
    let model = Model::decode(&model[..]).expect("the model decodes");
    assert_eq!(model.ir_version, Some(8));
    let opsets: Vec<_> =
        model.opset_import.iter().map(|opset| (opset.domain(), opset.version())).collect();
    assert_eq!(opsets, [("", 17)]);
}

/// A model is known by its checksum, so every machine must build the very same bytes. A change of
/// these constants makes every installation build its models anew and embed under a new name.
#[test]
fn the_same_checkpoint_gives_the_same_bytes_on_every_machine() {
    for (tiny, build, expected) in [
        (
            Tiny::minilm(),
            build_minilm as Build,
            "17475169f77a6c9907458ae38e3d80fc3fc41529cf6d41a0f5ef363af55e6ed0",
        ),
        (
            Tiny::splade(),
            build_splade as Build,
            "c01bafaf7ae4aeed2c488e322e3d3830dc04ef79bdc8ac8c79b0f2f6afff1b8a",
        ),
    ] {
        let model = tiny.build(build).expect("the model is built");
        assert_eq!(model, tiny.build(build).expect("the model is built again"));
        assert_eq!(format!("{:x}", Sha256::digest(&model)), expected);
    }
}

#[test]
fn a_finished_model_leaves_nothing_beside_it_and_replaces_the_one_before() {
    let (source, out) = (Tiny::minilm().folder(), TempDir::new().expect("temporary folder"));
    let out = out.path().join("made").join("here");
    build_minilm(source.path(), &out).expect("the folder is made");
    fs::write(out.join("model.onnx"), "an older model").expect("written");
    build_minilm(source.path(), &out).expect("the model is built again");
    assert!(fs::metadata(out.join("model.onnx")).expect("there").len() > 1000);
    assert_eq!(fs::read_dir(&out).expect("listed").count(), 1);
}

#[test]
fn a_missing_tensor_is_named() {
    for tensor in Tiny::minilm().tensors.keys() {
        let mut tiny = Tiny::minilm();
        tiny.tensors.remove(tensor);
        let error = tiny.minilm_error();
        assert!(matches!(&error, ModelError::MissingTensor { name, .. } if name == tensor));
        assert!(error.to_string().contains(tensor), "{error}");
    }
}

#[test]
fn an_encoder_without_a_head_is_no_splade() {
    let error = Tiny::minilm().build(build_splade).expect_err("there is no head");
    assert!(error.to_string().contains("cls.predictions"), "{error}");
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let mut tiny = Tiny::minilm();
    tiny.config["intermediate_size"] = json!(INTERMEDIATE + 1);
    let error = tiny.minilm_error().to_string();
    assert!(error.contains("intermediate.dense.weight"), "{error}");
    assert!(error.contains("[12, 8]") && error.contains("[13, 8]"), "{error}");
}

#[test]
fn a_value_that_is_not_finite_is_refused() {
    for spoiled in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut tiny = Tiny::minilm();
        let name = "encoder.layer.0.output.dense.weight";
        tiny.tensors.get_mut(name).expect("there").1[3] = spoiled;
        let error = tiny.minilm_error();
        assert!(matches!(error, ModelError::NotFinite { name: found } if found == name));
    }
}

#[test]
fn another_precision_is_refused() {
    let name = "embeddings.word_embeddings.weight";
    let bytes = vec![0; VOCABULARY * HIDDEN * 2];
    let view = TensorView::new(Dtype::F16, vec![VOCABULARY, HIDDEN], &bytes).expect("fits");
    let file = safetensors::serialize([(name, view)], None).expect("serialises");
    let checkpoint = Checkpoint::parse(Path::new("w"), &file).expect("parses");
    let error = checkpoint.tensor(name, &[VOCABULARY, HIDDEN]).err().expect("refused");
    assert!(error.to_string().contains("F16"), "{error}");
}

#[test]
fn a_checkpoint_cut_short_is_an_error_wherever_it_is_cut() {
    let file = Tiny::minilm().file();
    for length in 0..file.len() {
        let error = Checkpoint::parse(Path::new("w"), &file[..length]).err().expect("cut short");
        assert!(matches!(error, ModelError::Checkpoint { .. }), "{length}: {error}");
    }
}

#[test]
fn a_damaged_header_is_an_error_or_a_missing_tensor_never_a_panic() {
    let tiny = Tiny::minilm();
    let file = tiny.file();
    let start = file.iter().position(|byte| *byte == b'{').expect("a header");
    for at in (0..start + 600).filter(|at| *at < file.len()) {
        for damage in [0x00, 0x01, b'9', b'"', 0xff] {
            let mut file = file.clone();
            file[at] = damage;
            if let Ok(checkpoint) = Checkpoint::parse(Path::new("w"), &file) {
                for (name, (shape, _)) in &tiny.tensors {
                    drop(checkpoint.tensor(name, shape));
                }
            }
        }
    }
}

#[test]
fn a_failed_build_leaves_no_model() {
    let source = Tiny::minilm().folder();
    let weights = source.path().join("model.safetensors");
    let mut file = fs::read(&weights).expect("there");
    file.truncate(file.len() / 2);
    fs::write(&weights, file).expect("written");
    let out = TempDir::new().expect("temporary folder");
    let error = build_minilm(source.path(), out.path()).expect_err("cut short");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    assert_eq!(fs::read_dir(out.path()).expect("listed").count(), 0);
}

#[test]
fn a_missing_file_is_named() {
    for name in ["config.json", "model.safetensors"] {
        let source = Tiny::minilm().folder();
        fs::remove_file(source.path().join(name)).expect("removed");
        let out = TempDir::new().expect("temporary folder");
        let error = build_minilm(source.path(), out.path()).expect_err("a file is missing");
        assert!(matches!(error, ModelError::Read { .. }));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_configuration_that_is_none_or_lacks_a_field_is_refused() {
    for config in [json!([]), json!({ "hidden_size": 8 }), json!({ "hidden_size": -8 })] {
        let tiny = Tiny { config, ..Tiny::minilm() };
        assert!(matches!(tiny.minilm_error(), ModelError::Config { .. }));
    }
}

#[test]
fn a_network_that_is_not_built_here_is_refused_with_the_field_that_asks_for_it() {
    for (field, value) in [
        ("hidden_size", json!(0)),
        ("num_hidden_layers", json!(0)),
        ("num_attention_heads", json!(3)),
        ("layer_norm_eps", json!(-1.0)),
        ("hidden_act", json!("relu")),
        ("position_embedding_type", json!("relative_key")),
        ("tie_word_embeddings", json!(false)),
    ] {
        let mut tiny = Tiny::minilm();
        tiny.config[field] = value;
        let error = tiny.minilm_error();
        assert!(matches!(error, ModelError::Unsupported { .. }));
        let said = if field == "num_attention_heads" { "attention heads" } else { field };
        assert!(error.to_string().contains(said), "{error}");
    }
}
