//! From layers that name their values to a [`Graph`].

use std::collections::HashMap;

use striate_graph::{Graph, MAX_VOLUME, NodeId, Op, Part, Shape};

use super::layers::operations;
use super::message::Message;
use super::net::{Layer, layers, merged};
use crate::FormatError;

/// A network and what its layers say beside it.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) graph: Graph,
    /// Parameters of ours that Caffe does not have, and the one value of each.
    pub(super) constant: Vec<(String, f32)>,
    pub(super) warnings: Vec<String>,
}

/// What is behind the name of a value.
#[derive(Clone, Copy)]
enum Flow {
    /// The result of a part.
    Part(usize),
    /// Labels, or a second input.
    Other,
}

#[derive(Default)]
struct Builder<'m> {
    parts: Vec<Part>,
    shapes: Vec<Shape>,
    values: HashMap<&'m str, Flow>,
    constant: Vec<(String, f32)>,
    warnings: Vec<String>,
}

/// The network of the layers. `shape` is what is fed, where the caller knows better than the file;
/// `channels` are those of a picture, where the file only says how large it is.
pub(super) fn network(
    net: &Message,
    testing: bool,
    shape: Option<Shape>,
    channels: Option<usize>,
    place: &str,
) -> Result<Network, FormatError> {
    let refused = |found: String, expected: &str| FormatError::Unsupported {
        place: place.to_owned(),
        found,
        expected: expected.to_owned(),
    };
    let of_layer = |name: &str, found: String| {
        refused(format!("`{}`: {found}", name.escape_debug()), "a network that can be built")
    };
    let layers = layers(net, testing).map_err(|(name, found)| of_layer(&name, found))?;
    let merged = merged(&layers);
    let mut builder = Builder::default();

    let input = input(net, &layers).map_err(|(name, found)| of_layer(name, found))?;
    let dims = input.dims.as_deref().map(|dims| fed(dims, channels, &mut builder.warnings));
    let shape = match (shape, dims) {
        (Some(shape), _) => shape,
        (None, Some(Ok(shape))) => shape,
        (None, Some(Err(found))) => return Err(of_layer(input.name, found)),
        (None, None) => {
            let found = String::from("no size of what is fed to it");
            return Err(refused(
                found,
                "a deploy.prototxt that gives it, or the input's size by hand",
            ));
        }
    };
    let fed = builder.part(String::from(input.name), Op::Input(shape), vec![]);
    builder.values.extend(input.others.iter().map(|other| (*other, Flow::Other)));
    builder.values.insert(input.value, fed.map_err(|found| of_layer(input.name, found))?);

    for (layer, merged) in layers.iter().zip(merged) {
        let what = |found| of_layer(layer.name, format!("({}) {found}", layer.kind));
        match merged {
            Some(norm) => builder.scaled(layer, &layers[norm]),
            None => builder.layer(layer),
        }
        .map_err(what)?;
    }
    builder.finish().map_err(|(name, found)| of_layer(&name, found))
}

/// Where a network begins.
struct Input<'m> {
    /// What the node is called.
    name: &'m str,
    /// The value that is fed.
    value: &'m str,
    /// Values beside it.
    others: Vec<&'m str>,
    dims: Option<Vec<Option<usize>>>,
}

/// Declared at the top, given by a layer, or what the first layer reads.
fn input<'m>(net: &'m Message, layers: &[Layer<'m>]) -> Result<Input<'m>, (&'m str, String)> {
    let known = |dims: Vec<usize>| dims.into_iter().map(Some).collect::<Vec<_>>();
    let mut declared = net.texts("input");
    if let Some(value) = declared.next() {
        let all = |name| move |found| (name, found);
        let dims = net.sizes("input_dim").map_err(all(value))?;
        let shape = net.messages(&["input_shape"]).next();
        let dims = match shape {
            Some(shape) => Some(shape.sizes("dim").map_err(all(value))?),
            None => dims.get(..4).map(<[usize]>::to_vec),
        };
        let others = declared.collect();
        return Ok(Input { name: value, value, others, dims: dims.map(known) });
    }
    let mut sources = layers.iter().filter(|layer| layer.is_source());
    if let Some(source) = sources.next() {
        let dims = source_dims(source).map_err(|found| (source.name, found))?;
        let mut tops = source.tops.iter().copied();
        let value = tops.next().ok_or((source.name, String::from("gives nothing")))?;
        let others = tops.chain(sources.flat_map(|other| other.tops.iter().copied())).collect();
        return Ok(Input { name: source.name, value, others, dims });
    }
    let first = layers.iter().find_map(|layer| layer.bottoms.first().copied());
    let value = first.ok_or(("input", String::from("no layer reads anything")))?;
    Ok(Input { name: value, value, others: vec![], dims: None })
}

/// What a layer of data says about the size of its pictures; the channels may be unknown.
fn source_dims(layer: &Layer) -> Result<Option<Vec<Option<usize>>>, String> {
    let known = |dims: Vec<usize>| Some(dims.into_iter().map(Some).collect());
    for attributes in ["input_param", "dummy_data_param"] {
        if let Some(shape) = layer.attributes(attributes).messages(&["shape"]).next() {
            return Ok(known(shape.sizes("dim")?));
        }
    }
    for attributes in ["memory_data_param", "dummy_data_param"] {
        let attributes = layer.attributes(attributes);
        let sizes = ["channels", "height", "width"].map(|name| attributes.size(name));
        let [c, h, w] = sizes;
        if let (Some(c), Some(h), Some(w)) = (c?, h?, w?) {
            return Ok(known(vec![1, c, h, w]));
        }
    }
    let transform = layer.attributes("transform_param");
    let grey = transform.flag("force_gray", false)?.then_some(1);
    let crop = transform.size("crop_size")?.filter(|crop| *crop > 0);
    Ok(crop.map(|crop| vec![Some(1), grey, Some(crop), Some(crop)]))
}

/// The shape of one sample, of dimensions with the batch.
fn fed(
    dims: &[Option<usize>],
    channels: Option<usize>,
    warnings: &mut Vec<String>,
) -> Result<Shape, String> {
    let [_, rest @ ..] = dims else { return Err(String::from("is fed nothing")) };
    match *rest {
        [Some(n)] => Ok(Shape::Flat(n)),
        [c, Some(h), Some(w)] => {
            if c.is_none() && channels.is_none() {
                warnings.push(String::from("pictures are taken for those of three channels"));
            }
            Ok(Shape::map(c.or(channels).unwrap_or(3), h, w))
        }
        _ => Err(format!("is fed {} dimensions, expected N×C×H×W or N×C", dims.len())),
    }
}

impl<'m> Builder<'m> {
    fn part(&mut self, name: String, op: Op, inputs: Vec<usize>) -> Result<Flow, String> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shapes[input]).collect();
        let shape = op.shape(&shapes).map_err(|reason| reason.to_string())?;
        // The next layer multiplies its extents.
        let volume = shape.extents().iter().try_fold(1usize, |n, extent| n.checked_mul(*extent));
        if !volume.is_some_and(|volume| (1..=MAX_VOLUME).contains(&volume)) {
            return Err(format!("gives {shape} values, none or more than {MAX_VOLUME}"));
        }
        self.parts.push(Part { name, op, inputs });
        self.shapes.push(shape);
        Ok(Flow::Part(self.parts.len() - 1))
    }

    /// The parts whose results a layer reads.
    fn inputs(&self, layer: &Layer) -> Result<Vec<usize>, String> {
        if layer.bottoms.is_empty() {
            return Err(String::from("reads nothing"));
        }
        let part = |bottom: &&str| match self.values.get(bottom) {
            Some(Flow::Part(part)) => Ok(*part),
            Some(Flow::Other) => Err(format!("reads `{bottom}`, which is no picture")),
            None => Err(format!("reads `{bottom}`, which no layer before it gives")),
        };
        layer.bottoms.iter().map(part).collect()
    }

    fn layer(&mut self, layer: &Layer<'m>) -> Result<(), String> {
        if layer.is_source() {
            return Ok(());
        }
        if layer.is_judge() {
            self.values.extend(layer.tops.iter().map(|top| (*top, Flow::Other)));
            self.left_out(layer.name, layer.kind, "it judges the network");
            return Ok(());
        }
        let inputs = self.inputs(layer)?;
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shapes[input]).collect();
        let mut flow = Flow::Part(inputs[0]);
        let mut reads = inputs;
        for (behind, op) in operations(layer, &shapes)? {
            if matches!(op, Op::BatchNorm(_)) {
                self.constant.push((format!("{}.weight", layer.name), 1.0));
                self.constant.push((format!("{}.bias", layer.name), 0.0));
                if !layer.attributes("batch_norm_param").flag("use_global_stats", true)? {
                    let name = layer.name;
                    let found = "normalises by its batch; here by the statistics of training";
                    self.warnings.push(format!("`{}` {found}", name.escape_debug()));
                }
            }
            flow = self.part(format!("{}{behind}", layer.name), op, reads)?;
            reads = match flow {
                Flow::Part(part) => vec![part],
                Flow::Other => vec![],
            };
        }
        self.values.extend(layer.tops.iter().map(|top| (*top, flow)));
        Ok(())
    }

    /// A Scale whose γ and β are those of the BatchNorm before it.
    fn scaled(&mut self, layer: &Layer<'m>, norm: &Layer) -> Result<(), String> {
        let inputs = self.inputs(layer)?;
        // For its attributes alone.
        operations(layer, &[Shape::map(1, 1, 1)])?;
        let has_bias = layer.attributes("scale_param").flag("bias_term", false)?;
        let (weight, bias) = (format!("{}.weight", norm.name), format!("{}.bias", norm.name));
        self.constant.retain(|(name, _)| *name != weight && !(has_bias && *name == bias));
        self.values.extend(layer.tops.iter().map(|top| (*top, Flow::Part(inputs[0]))));
        Ok(())
    }

    fn left_out(&mut self, name: &str, kind: &str, why: &str) {
        self.warnings.push(format!("`{}` ({kind}) is left out: {why}", name.escape_debug()));
    }

    /// The graph of the parts. What nobody reads is an output, the last one the logits; a softmax
    /// there is left out.
    fn finish(mut self) -> Result<Network, (String, String)> {
        let mut uses = vec![0; self.parts.len()];
        self.parts.iter().flat_map(|part| &part.inputs).for_each(|&input| uses[input] += 1);
        let mut ends: Vec<usize> = Vec::new();
        for i in (0..self.parts.len()).filter(|&i| uses[i] == 0) {
            let mut end = i;
            while matches!(self.parts[end].op, Op::Softmax) {
                let name = self.parts[end].name.clone();
                self.left_out(&name, "Softmax", "the network ends in logits");
                end = self.parts[end].inputs[0];
            }
            if !ends.contains(&end) {
                ends.push(end);
            }
        }
        let last = ends.pop().filter(|&last| last > 0);
        let last = last.ok_or((String::from("logits"), String::from("no layer gives any")))?;
        let flat = |(i, part): (usize, &Part)| (part.name.clone(), i);
        let mut outputs: Vec<_> = ends.iter().map(|&end| flat((end, &self.parts[end]))).collect();
        let logits = match self.shapes[last] {
            Shape::Map { h: 1, w: 1, .. } => {
                let name = format!("{}.flatten", self.parts[last].name);
                let failed = |found| (String::from("logits"), found);
                match self.part(name, Op::Flatten, vec![last]).map_err(failed)? {
                    Flow::Part(part) => part,
                    Flow::Other => last,
                }
            }
            Shape::Map { .. } | Shape::Flat(_) => last,
        };
        outputs.insert(0, (String::from("logits"), logits));
        let graph = Graph::assemble(self.parts, &outputs)
            .map_err(|error| (error.node, error.reason.to_string()))?;
        let keep: Vec<NodeId> = graph.outputs().iter().map(|output| output.node).collect();
        let graph = graph.prune(&keep);
        Ok(Network { graph, constant: self.constant, warnings: self.warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;

    fn read(text: &str) -> Result<Network, FormatError> {
        network(&text::parse(text).unwrap(), true, None, None, "net.prototxt")
    }

    const DATA: &str = "input: \"data\" input_dim: 1 input_dim: 2 input_dim: 6 input_dim: 6 ";

    /// A network of one layer `x`, of the type and with the attributes.
    fn one(kind: &str, attributes: &str) -> Result<Network, FormatError> {
        let names = r#"name: "x" bottom: "data" top: "x""#;
        read(&format!("{DATA} layer {{ {names} type: \"{kind}\" {attributes} }}"))
    }

    #[test]
    fn attributes_that_no_operation_has_are_told() {
        for (kind, attributes, expected) in [
            ("Deconvolution", "", "a type that is not known, expected one of BatchNorm, Concat"),
            ("ReLU", "relu_param { negative_slope: 0.1 }", "negative_slope 0.1, expected 0"),
            ("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }", "norm_region WITHIN_CHANNEL"),
            ("Pooling", "pooling_param { pool: STOCHASTIC }", "pool STOCHASTIC, expected MAX"),
            ("Pooling", "", "no `kernel_size`, expected one"),
            ("Pooling", "pooling_param { kernel_size: 7 }", "7×7 window over a 6×6 map"),
            ("Pooling", "pooling_param { kernel_size: 2 pad: 2 }", "padding 2 must be smaller"),
            ("Pooling", "pooling_param { kernel_size: 1 stride: 4 }", "the last one outside"),
            ("Pooling", "pooling_param { kernel_size: 1 stride: 0 }", "must be at least 1"),
            ("Convolution", "", "no `num_output`, expected one"),
            ("Convolution", "convolution_param { num_output: -1 }", "`num_output` -1, expected"),
            ("Convolution", "convolution_param { num_output: 1e300 }", "expected a whole number"),
            ("Convolution", "convolution_param { num_output: 0.5 }", "expected a whole number"),
            ("Convolution", "convolution_param { num_output: two }", "`num_output` of `two`"),
            (
                "Convolution",
                "convolution_param { num_output: 2147483648 kernel_size: 6 }",
                "a value of more than 2147483648 elements",
            ),
            (
                "Convolution",
                "convolution_param { num_output: 1 kernel_size: [1, 2, 3] }",
                "`kernel_size` for 3 axes, expected two",
            ),
            (
                "Convolution",
                "convolution_param { num_output: 1 kernel_size: 1 pad: 2147483648 }",
                "more than 2147483648",
            ),
            (
                "Convolution",
                "convolution_param { num_output: 3 kernel_size: 1 group: 2 }",
                "2 groups do not divide 3 channels",
            ),
            (
                "Convolution",
                "convolution_param { num_output: 1 kernel_size: 1 bias_term: 3 }",
                "`bias_term` of 3, expected true or false",
            ),
            ("InnerProduct", "inner_product_param { num_output: 1 axis: 2 }", "axis 2, expected"),
            ("Concat", "concat_param { axis: 2 }", "axis 2, expected [1]"),
            ("Eltwise", "eltwise_param { operation: PROD }", "operation PROD, expected SUM"),
            ("Eltwise", "eltwise_param { coeff: 2 coeff: 2 }", "coeff [2.0, 2.0], expected 1"),
            ("Eltwise", "", "found 1 inputs"),
            ("Power", "power_param { shift: 1 }", "shift 1, expected 1, 1 and 0"),
            ("Reshape", "reshape_param { shape { dim: 0 dim: 2 } }", "dimensions [0.0, 2.0]"),
            ("Dropout", "dropout_param { dropout_ratio: 1 }", "p must be from 0 to below 1"),
            ("BatchNorm", "batch_norm_param { eps: nan }", "eps must be positive"),
            ("Softmax", "softmax_param { axis: 2 }", "axis 2, expected [1]"),
            ("Silence", "", "`logits`: no layer gives any"),
            ("Split", "", "`logits`: no layer gives any"),
        ] {
            let error = one(kind, attributes).unwrap_err();
            assert!(matches!(error, FormatError::Unsupported { .. }), "{error:?}");
            let error = error.to_string();
            assert!(error.starts_with("net.prototxt: found `"), "{error}");
            assert!(error.contains(expected), "{kind} {attributes}: {error}");
        }
    }

    #[test]
    fn what_does_not_hang_together_is_told() {
        let layer = |name: &str, bottom: &str| {
            format!(r#"layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{name}" }}"#)
        };
        let labels = r#"layer { name: "data" type: "Data" top: "data" top: "label"
            transform_param { crop_size: 4 } }"#;
        for (text, expected) in [
            (String::new(), "`input`: no layer reads anything"),
            (String::from(DATA), "`logits`: no layer gives any"),
            // A cycle: neither comes first.
            (
                format!("{DATA}{}{}", layer("a", "b"), layer("b", "a")),
                "`a`: (ReLU) reads `b`, which no layer before it gives",
            ),
            (format!("{DATA}{}{}", layer("a", "data"), layer("a", "a")), "the name is taken"),
            (format!("{labels}{}", layer("a", "label")), "reads `label`, which is no picture"),
            (format!("{DATA} layer {{ name: \"a\" type: \"ReLU\" }}"), "`a`: (ReLU) reads nothing"),
            (layer("a", "data"), "no size of what is fed to it, expected a deploy.prototxt"),
            (format!("input: \"data\" {}", layer("a", "data")), "no size of what is fed"),
            (
                format!(
                    "input: \"data\" input_shape {{ dim: 1 dim: 2 dim: 3 }} {}",
                    layer("a", "data")
                ),
                "is fed 3 dimensions, expected N×C×H×W or N×C",
            ),
            (
                format!(
                    "input: \"data\" input_shape {{ dim: 1 dim: 0 dim: 1 dim: 1 }} {}",
                    layer("a", "data")
                ),
                "`data`: gives 0×1×1 values",
            ),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let dims = "dim: 2147483648 ".repeat(3);
        let huge =
            format!("input: \"data\" input_shape {{ dim: 1 {dims} }} {}", layer("a", "data"));
        assert!(read(&huge).unwrap_err().to_string().contains("more than 2147483648"));
    }

    /// Values that several layers read go through layers of their own where Caffe saves a network.
    #[test]
    fn what_changes_nothing_is_no_node() {
        let text = r#"
            layer { name: "s" type: "Split" bottom: "data" top: "data_0" top: "data_1" }
            layer { name: "same" type: "Power" bottom: "data_0" top: "same" }
            layer { name: "sum" type: "Eltwise" bottom: "same" bottom: "data_1" top: "sum" }
            layer { name: "row" type: "Reshape" bottom: "sum" top: "row"
                reshape_param { shape { dim: 0 dim: -1 } } }
            layer { name: "flat" type: "Flatten" bottom: "row" top: "flat" }
            layer { name: "swallowed" type: "Silence" bottom: "data_1" }"#;
        let network = read(&format!("{DATA}{text}")).unwrap();
        let nodes: Vec<_> = network.graph.nodes().iter().map(|n| n.name.as_str()).collect();
        assert_eq!(nodes, ["data", "sum", "row"]);
        assert_eq!(network.graph.nodes()[1].inputs.len(), 2);
    }

    #[test]
    fn a_network_ends_in_logits_and_its_heads_are_outputs() {
        let fc = |name: &str, bottom: &str| {
            format!(
                r#"layers {{ name: "{name}" type: INNER_PRODUCT bottom: "{bottom}" top: "{name}"
                inner_product_param {{ num_output: 3 }} }}"#
            )
        };
        let loss = |bottom: &str| {
            format!(
                r#"layers {{ name: "loss {bottom}" type: SOFTMAX_LOSS bottom: "{bottom}"
                bottom: "label" top: "loss {bottom}" }}"#
            )
        };
        let data = r#"layers { name: "data" type: DATA top: "data" top: "label"
            transform_param { crop_size: 4 } }"#;
        let heads = [fc("aux", "data"), loss("aux"), fc("fc", "data"), loss("fc")].concat();
        let network = read(&format!("{data}{heads}")).unwrap();
        let outputs = network.graph.outputs().iter();
        let outputs: Vec<_> =
            outputs.map(|o| (o.name.as_str(), network.graph.node(o.node).name.as_str())).collect();
        assert_eq!(outputs, [("logits", "fc"), ("aux", "aux")]);
        assert_eq!(network.graph.input(), Shape::map(3, 4, 4));
        assert_eq!(network.warnings.len(), 3, "{:?}", network.warnings);

        let softmax = r#"layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }"#;
        let network = read(&format!("{DATA}{}{softmax}", fc("fc", "data"))).unwrap();
        assert_eq!(network.graph.outputs().len(), 1);
        assert!(network.graph.find("prob").is_none());
        let expected = "`prob` (Softmax) is left out: the network ends in logits";
        assert_eq!(network.warnings, [expected]);
    }
}
