//! A network of ours as Caffe has it: the text that defines it, and the same with its values.

use std::io::Write;
use std::path::Path;

use striate_graph::op::{BatchNorm, Conv2d, Pool, PoolKind, Tanh};
use striate_graph::{Graph, Naming, Node, Op, ParamSource, Shape, Sides, Size};

use super::layers::leaves_map;
use super::message::{Message, Value};
use super::{schema, text, wire};
use crate::atomic::write_both;
use crate::{Dtype, FormatError};

/// The longest file that protobuf's own readers take.
const MAX_FILE: u64 = (1 << 31) - 1;

/// Numbers of the fields of `caffe.proto` that hold layers, blobs, and what is in these.
const LAYER: u64 = 100;
const BLOBS: u64 = 7;
const DATA: u64 = 5;
const SHAPE: u64 = 7;

/// A layer, and what it has learned.
struct Written {
    message: Message,
    blobs: Vec<Blob>,
}

struct Blob {
    shape: Vec<usize>,
    values: Values,
}

enum Values {
    /// Those of a parameter.
    Param(String),
    One,
}

/// Writes a network and its weights: `model`, a `.caffemodel`, and `definition`, its `.prototxt`,
/// each whole or not at all. Layers are called as the naming says. Values are read piece by piece.
///
/// # Errors
/// [`FormatError::Unwritable`] with the node if Caffe has no such layer, two have the same name, or
/// the weights are of another network or too many; [`FormatError::Io`] if a file cannot be written,
/// or the weights cannot be read.
pub fn write(
    model: &Path,
    definition: &Path,
    name: &str,
    graph: &Graph,
    params: &dyn ParamSource,
    naming: &Naming,
) -> Result<(), FormatError> {
    let unwritable =
        |reason| FormatError::Unwritable { place: model.display().to_string(), reason };
    if *params.layout() != graph.layout() {
        return Err(unwritable(String::from("the weights are of another network than the graph")));
    }
    let layers = layers(graph, naming).map_err(unwritable)?;
    let mut net = Message::of([("name", Value::text(name))]);
    let mut head = Vec::new();
    wire::delimited(1, name.as_bytes(), &mut head);
    // Each layer up to its blobs, and each blob up to its values.
    let mut pieces: Vec<(Vec<u8>, Option<&Values>)> = vec![(head, None)];
    for Written { message, blobs } in &layers {
        let blobs: Vec<_> = blobs.iter().map(|blob| (blob.head(), blob)).collect();
        let fields = wire::encode(message, schema::LAYER);
        let len = |(head, blob): &(Vec<u8>, &Blob)| (head.len() + 4 * blob.volume()) as u64;
        let mut head = Vec::new();
        wire::length(LAYER, fields.len() as u64 + blobs.iter().map(len).sum::<u64>(), &mut head);
        head.extend(fields);
        pieces.push((head, None));
        pieces.extend(blobs.into_iter().map(|(head, blob)| (head, Some(&blob.values))));
        net.push("layer", Value::Message(message.clone()));
    }
    let len = pieces.iter().map(|(head, _)| head.len() as u64).sum::<u64>()
        + 4 * params.layout().len() as u64;
    if len > MAX_FILE {
        let reason =
            format!("a file of {len} bytes, and Caffe reads {MAX_FILE}: write safetensors");
        return Err(unwritable(reason));
    }
    let text = text::write(&net, "");
    write_both(
        definition,
        |file| file.write_all(text.as_bytes()),
        model,
        |file| {
            pieces.iter().try_for_each(|(head, values)| {
                file.write_all(head)?;
                match values {
                    Some(Values::Param(name)) => {
                        let param = params.layout().find(name).expect("a parameter of this graph");
                        file.values(params, param, None, Dtype::F32)
                    }
                    Some(Values::One) => file.write_all(&1f32.to_le_bytes()),
                    None => Ok(()),
                }
            })
        },
    )
}

impl Blob {
    fn volume(&self) -> usize {
        self.shape.iter().product()
    }

    /// The field up to its values.
    fn head(&self) -> Vec<u8> {
        let mut dims = Message::default();
        self.shape.iter().for_each(|extent| dims.push("dim", Value::size(*extent)));
        let mut inside = Vec::new();
        wire::delimited(SHAPE, &wire::encode(&dims, schema::SHAPE), &mut inside);
        let values = 4 * self.volume() as u64;
        wire::length(DATA, values, &mut inside);
        let mut head = Vec::new();
        wire::length(BLOBS, inside.len() as u64 + values, &mut head);
        head.extend(inside);
        head
    }
}

/// The layers of all nodes, in order; else the node that Caffe does not have.
fn layers(graph: &Graph, naming: &Naming) -> Result<Vec<Written>, String> {
    let keys = naming.keys(graph);
    let mut sorted: Vec<&String> = keys.iter().collect();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two layers are called `{}`", twice[0]));
    }
    let mut layers = Vec::new();
    // What the result of each node is called.
    let mut values: Vec<String> = Vec::new();
    for (node, key) in graph.nodes().iter().zip(&keys) {
        let bottoms: Vec<&str> =
            node.inputs.iter().map(|input| values[input.index()].as_str()).collect();
        let said = |reason: String| format!("`{}`: {reason}", node.name);
        let shapes = graph.input_shapes(node);
        let Some((kind, attributes)) = kind(node, &shapes).map_err(said)? else {
            let same = bottoms.first().copied().unwrap_or_default().to_owned();
            values.push(same);
            continue;
        };
        let blobs = |leaves: &[&str]| {
            let slots = node.op.slots(&shapes).into_iter();
            let slots = slots.filter(|slot| leaves.contains(&slot.leaf));
            let blob = |slot: striate_graph::op::Slot| Blob {
                shape: slot.shape,
                values: Values::Param(format!("{}.{}", node.name, slot.leaf)),
            };
            slots.map(blob).collect::<Vec<_>>()
        };
        if let Op::BatchNorm(_) = node.op {
            let mut statistics = blobs(&["running_mean", "running_var"]);
            statistics.push(Blob { shape: vec![1], values: Values::One });
            layers.push(layer(key, kind, &bottoms, key, attributes, statistics));
            let scale = format!("{key}/scale");
            let bias = Message::of([("bias_term", Value::word(true))]);
            let bias = Some(("scale_param", bias));
            let learned = blobs(&["weight", "bias"]);
            layers.push(layer(&scale, "Scale", &[key], &scale, bias, learned));
            values.push(scale);
        } else {
            let learned = blobs(&["weight", "bias"]);
            layers.push(layer(key, kind, &bottoms, key, attributes, learned));
            values.push(key.clone());
        }
    }
    Ok(layers)
}

/// The name of a message of attributes, and it.
type Attributes = Option<(&'static str, Message)>;

fn layer(
    name: &str,
    kind: &str,
    bottoms: &[&str],
    top: &str,
    attributes: Attributes,
    blobs: Vec<Blob>,
) -> Written {
    let mut message = Message::of([("name", Value::text(name)), ("type", Value::text(kind))]);
    bottoms.iter().for_each(|bottom| message.push("bottom", Value::text(bottom)));
    message.push("top", Value::text(top));
    if let Some((name, attributes)) = attributes {
        message.push(name, Value::Message(attributes));
    }
    Written { message, blobs }
}

/// The type of layer that a node is, and its attributes; none if it changes nothing.
fn kind(node: &Node, inputs: &[Shape]) -> Result<Option<(&'static str, Attributes)>, String> {
    let plain = |kind| Ok(Some((kind, None)));
    let with = |kind, name, attributes| Ok(Some((kind, Some((name, attributes)))));
    match &node.op {
        Op::Input(shape) => {
            let mut dims = Message::default();
            shape.batched(1).iter().for_each(|extent| dims.push("dim", Value::size(*extent)));
            with("Input", "input_param", Message::of([("shape", Value::Message(dims))]))
        }
        Op::Conv2d(conv) => with("Convolution", "convolution_param", convolution(conv)?),
        Op::Linear(linear) => {
            let mut attributes = Message::of([("num_output", Value::size(linear.out))]);
            bias(&mut attributes, linear.bias);
            with("InnerProduct", "inner_product_param", attributes)
        }
        Op::Pool(pool) => with("Pooling", "pooling_param", pooling(pool, inputs[0])?),
        Op::AdaptiveAvgPool(pool) => {
            let mut attributes = Message::of([("pool", Value::word("AVE"))]);
            let ([_, h, w], Size { h: out_h, w: out_w }) = (inputs[0].chw(), pool.out);
            if [h, w] == [out_h, out_w] {
                return Ok(None);
            }
            if [out_h, out_w] == [1, 1] {
                attributes.push("global_pooling", Value::word(true));
            } else if h % out_h == 0 && w % out_w == 0 {
                let step = Size { h: h / out_h, w: w / out_w };
                sides(&mut attributes, "kernel_size", "kernel", step);
                sides(&mut attributes, "stride", "stride", step);
            } else {
                return Err(format!("windows of different sizes, from {h}×{w} to {out_h}×{out_w}"));
            }
            with("Pooling", "pooling_param", attributes)
        }
        Op::BatchNorm(BatchNorm { scale: false, .. }) => {
            Err(String::from("normalisation without a scale"))
        }
        Op::BatchNorm(BatchNorm { eps, momentum, .. }) => {
            let fraction = 1.0 - momentum;
            let attributes = Message::of([
                ("moving_average_fraction", Value::real(fraction)),
                ("eps", Value::real(*eps)),
            ]);
            with("BatchNorm", "batch_norm_param", attributes)
        }
        Op::Lrn(lrn) => {
            let alpha = if lrn.divided { lrn.alpha } else { lrn.alpha * lrn.size as f32 };
            let attributes = Message::of([
                ("local_size", Value::size(lrn.size)),
                ("alpha", Value::real(alpha)),
                ("beta", Value::real(lrn.beta)),
                ("k", Value::real(lrn.k)),
            ]);
            with("LRN", "lrn_param", attributes)
        }
        Op::Relu => plain("ReLU"),
        Op::Tanh(Tanh { a: 1.0, s: 1.0 }) => plain("TanH"),
        Op::Sigmoid => plain("Sigmoid"),
        Op::Softmax => plain("Softmax"),
        Op::Dropout(dropout) => {
            let ratio = Message::of([("dropout_ratio", Value::real(dropout.p))]);
            with("Dropout", "dropout_param", ratio)
        }
        Op::Add => plain("Eltwise"),
        Op::AddScaled(add) => {
            let coefficients = [("coeff", Value::real(1.0)), ("coeff", Value::real(add.scale))];
            with("Eltwise", "eltwise_param", Message::of(coefficients))
        }
        Op::Concat => plain("Concat"),
        Op::Flatten => plain("Flatten"),
        Op::Subsample(_)
        | Op::Rbf(_)
        | Op::Tanh(_)
        | Op::Shortcut(_)
        | Op::LogSoftmax
        | Op::Clip(_) => Err(format!("Caffe has no such layer ({})", node.op.kind())),
    }
}

fn bias(attributes: &mut Message, has_bias: bool) {
    if !has_bias {
        attributes.push("bias_term", Value::word(false));
    }
}

/// One number where both axes have the same.
fn sides(attributes: &mut Message, both: &'static str, each: &str, Size { h, w }: Size) {
    if h == w {
        attributes.push(both, Value::size(h));
    } else {
        attributes.push(format!("{each}_h"), Value::size(h));
        attributes.push(format!("{each}_w"), Value::size(w));
    }
}

fn padding(attributes: &mut Message, pad: Sides) -> Result<(), String> {
    if (pad.top, pad.left) != (pad.bottom, pad.right) {
        return Err(format!("padding {pad}, and Caffe pads opposite sides alike"));
    }
    sides(attributes, "pad", "pad", Size { h: pad.top, w: pad.left });
    Ok(())
}

fn convolution(conv: &Conv2d) -> Result<Message, String> {
    let mut attributes = Message::of([("num_output", Value::size(conv.out))]);
    bias(&mut attributes, conv.bias);
    padding(&mut attributes, conv.pad)?;
    sides(&mut attributes, "kernel_size", "kernel", conv.kernel);
    attributes.push("group", Value::size(conv.groups));
    sides(&mut attributes, "stride", "stride", conv.stride);
    if conv.dilation != Size::from(1) {
        attributes.push("dilation", Value::size(conv.dilation.h));
        attributes.push("dilation", Value::size(conv.dilation.w));
    }
    Ok(attributes)
}

fn pooling(pool: &Pool, input: Shape) -> Result<Message, String> {
    let Pool { kind, kernel, stride, pad, ceil } = *pool;
    let kind = match kind {
        PoolKind::Max => "MAX",
        PoolKind::MaxOfPadded => {
            return Err(String::from("maxima of zeros around the map, and Caffe leaves these out"));
        }
        PoolKind::Avg { count_include_pad: false } if pad != Sides::from(0) => {
            return Err(String::from("means without the padding, and Caffe counts it"));
        }
        PoolKind::Avg { .. } => "AVE",
    };
    let mut attributes = Message::of([("pool", Value::word(kind))]);
    padding(&mut attributes, pad)?;
    sides(&mut attributes, "kernel_size", "kernel", kernel);
    sides(&mut attributes, "stride", "stride", stride);
    let leaves = leaves_map(input, kernel, stride, pad);
    if ceil && leaves {
        return Err(String::from("windows that Caffe would place outside the map"));
    }
    let rounded_up = Pool { ceil: true, ..pool.clone() }.shape(input);
    if !ceil && (leaves || rounded_up != pool.shape(input)) {
        // Caffe of 2018 and later; the earlier ones always round up.
        attributes.push("round_mode", Value::word("FLOOR"));
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caffe::{define, read};
    use striate_graph::op::Lrn;
    use striate_graph::{Init, Params, add, add_scaled, concat};
    use striate_tensor::Rng;

    /// A network of all that Caffe has.
    fn network() -> Graph {
        let lrn = Lrn { size: 3, alpha: 1e-4, divided: true, beta: 0.75, k: 2.0 };
        Graph::build(Shape::map(3, 20, 17), |x| {
            let x = x.at("conv").conv((3, 5), 4).stride((2, 1)).pad((1, 2)).no_bias();
            let x = x.at("bn").batch_norm().relu().at("lrn").lrn(lrn);
            let y = x.at("group").conv(3, 4).groups(2).dilation(2).pad(2).at("sig").sigmoid();
            let x = add_scaled(x.at("sum"), -0.3, y).at("max").max_pool(3, 2).ceil();
            let y = x.at("avg").avg_pool(3, 1).pad(1).at("same").conv(1, 4).at("soft").softmax();
            let x = concat(&[add(x, y).at("floor").max_pool(2, 2), y.at("four").max_pool(2, 2)]);
            let x = x.at("global").global_avg_pool().flatten().at("fc6").linear(5).relu();
            x.dropout(0.25).at("fc7").linear(2)
        })
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let (model, definition) =
            (directory.path().join("net.caffemodel"), directory.path().join("net.prototxt"));
        let graph = network();
        let params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
        let naming = Naming::rules(&[("fc6", "a \"b\""), ("conv", "conv/5x3")]);
        write(&model, &definition, "net", &graph, &params, &naming).unwrap();
        for definition in [None, Some(definition.as_path())] {
            let back = read(&model, definition, None).unwrap();
            assert_eq!(Params::read(&back.params).unwrap().values(), params.values());
            // Where both ways of rounding agree it is not said which; a momentum is rounded twice.
            let ops = |graph: &Graph| -> Vec<Op> {
                let op = |node: &Node| {
                    let mut op = node.op.clone();
                    if let Op::Pool(pool) = &mut op {
                        pool.ceil = true;
                    }
                    if let Op::BatchNorm(norm) = &mut op {
                        norm.momentum = 0.0;
                    }
                    op
                };
                graph.nodes().iter().map(op).collect()
            };
            assert_eq!(ops(&back.graph), ops(&graph));
            let shapes = |graph: &Graph| graph.nodes().iter().map(|n| n.shape).collect::<Vec<_>>();
            assert_eq!(shapes(&back.graph), shapes(&graph));
            assert!(back.graph.find("a \"b\"").is_some() && back.graph.find("conv/5x3").is_some());
        }
        assert_eq!(define(&definition, None).unwrap().0, read(&model, None, None).unwrap().graph);
    }

    #[test]
    fn what_caffe_does_not_have_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let (model, definition) =
            (directory.path().join("net.caffemodel"), directory.path().join("net.prototxt"));
        type Net = for<'g> fn(striate_graph::Value<'g>) -> striate_graph::Value<'g>;
        let cases: [(Net, &str); 4] = [
            (|x| x.at("t").tanh(Tanh::LECUN), "`t`: Caffe has no such layer (tanh)"),
            (|x| x.at("p").max_pool(1, 3).ceil(), "`p`: windows that Caffe would place outside"),
            (|x| x.at("a").adaptive_avg_pool(3), "`a`: windows of different sizes"),
            (|x| x.at("c").conv(3, 1).pad([0, 0, 1, 1]), "Caffe pads opposite sides alike"),
        ];
        for (net, expected) in cases {
            let graph = Graph::build(Shape::map(1, 8, 8), net).unwrap();
            let params = Params::zeros(&graph);
            let error = write(&model, &definition, "net", &graph, &params, &Naming::NODES);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!model.exists());
        }
        let graph = network();
        let params = Params::zeros(&graph);
        let same = Naming::rules(&[("fc6", "fc"), ("fc7", "fc")]);
        let error = write(&model, &definition, "net", &graph, &params, &same).unwrap_err();
        assert!(error.to_string().ends_with("two layers are called `fc`"), "{error}");
    }
}
