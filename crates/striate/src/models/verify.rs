//! What was converted, read again by the reader of its own format, and both run by their definition.

use std::path::Path;

use striate_exec::{Backend, Interpreter, Options, Outputs};
use striate_formats::Format;
use striate_graph::{Graph, NodeId, Param, Params};
use striate_tensor::{Rng, Tensor};

use super::function::scores;
use super::network::in_memory;
use super::{Choices, Model, ModelError, Network, definition};

/// How far two files are apart.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Parameters that are not the same to the bit.
    pub changed: usize,
    /// For each layer the largest difference, as a share of the largest value of that layer.
    pub layers: Vec<(String, f64)>,
}

impl Verified {
    /// Whether both files are one network but for rounding.
    pub fn agrees(&self) -> bool {
        self.layers.iter().all(|(_, error)| *error <= 1e-4)
    }

    /// The layer that is furthest apart.
    pub fn worst(&self) -> Option<&(String, f64)> {
        self.layers.iter().max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// One side: a network with its weights, as the reader of its file has them.
struct Side {
    graph: Graph,
    params: Params,
}

/// Compares what was read with what was written. `model` are the weights that were read as those of
/// the network that was named or found, `own` the network that their file says itself, if it does.
pub(crate) fn verified(
    model: &Model,
    own: Option<&Network>,
    to: &Path,
) -> Result<Verified, ModelError> {
    let network = &model.network;
    let params = in_memory(&*model.params, &model.weights)?;
    let again = written_weights(network, to)?;
    let same = |(param, values): &(&Param, &[f32])| {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
        again.get(&param.name).is_some_and(|found| bits(found.data) == bits(values))
    };
    let changed = params.iter().filter(|pair| !same(pair)).count();

    let read = match own.and_then(|own| Some((own, own.weights.as_ref()?))) {
        Some((own, weights)) => {
            let params = in_memory(&*weights.params, &weights.place)?;
            Side { graph: own.graph.clone(), params }
        }
        None => Side { graph: network.graph.clone(), params },
    };
    let written = match Format::of(to) {
        Some(Format::Caffe | Format::Onnx) => own_side(to)?,
        Some(Format::Safetensors | Format::PyTorch | Format::Keras) | None => {
            Side { graph: network.graph.clone(), params: again }
        }
    };
    Ok(Verified { changed, layers: layers(network, &read, &written)? })
}

/// What was written, as weights of the network.
fn written_weights(network: &Network, to: &Path) -> Result<Params, ModelError> {
    let place = to.display().to_string();
    let again = match Format::of(to) {
        Some(Format::Onnx) => own_side(to)?.params,
        // What Caffe's layers have and ours have not is known to the reader of both.
        Some(Format::Caffe) if network.is_file() => own_side(to)?.params,
        _ => {
            let file = striate_formats::read(to)?;
            let naming = file.listing().naming(&network.graph, network.namings());
            in_memory(&file.weights(&network.graph, naming, &[])?, &place)?
        }
    };
    Ok(again)
}

/// A file as the network that it says itself.
fn own_side(path: &Path) -> Result<Side, ModelError> {
    let model = Model::of(definition::read(path, None, &Choices::default())?)?;
    let params = in_memory(&*model.params, &model.weights)?;
    Ok(Side { graph: model.network.graph, params })
}

/// The layers that both sides have, in the order of the network, and how far they are apart.
fn layers(
    network: &Network,
    read: &Side,
    written: &Side,
) -> Result<Vec<(String, f64)>, ModelError> {
    let mut rng = Rng::new(0);
    let shape = read.graph.input();
    let values = (0..shape.volume()).map(|_| rng.normal()).collect();
    let picture = Tensor::new(&shape.batched(1), values).expect("as many values as the shape has");
    let (a, b) = (read.run(&picture)?, written.run(&picture)?);

    let names: Vec<Vec<String>> =
        network.namings().map(|naming| naming.keys(&network.graph)).collect();
    let mut layers = Vec::new();
    for (id, node) in network.graph.iter() {
        let names = std::iter::once(&node.name).chain(names.iter().map(|keys| &keys[id.index()]));
        let find = |graph: &Graph| names.clone().find_map(|name| graph.find(name));
        let (Some(i), Some(j)) = (find(&read.graph), find(&written.graph)) else { continue };
        if let (Some(x), Some(y)) = (read.value(&a, i), written.value(&b, j))
            && x.shape() == y.shape()
        {
            layers.push((node.name.clone(), apart(x, y)));
        }
    }
    // However the layers are called, there is an end.
    let ends = (read.value(&a, scores(&read.graph)), written.value(&b, scores(&written.graph)));
    layers.push((
        read.graph.outputs()[0].name.clone(),
        match ends {
            (Some(x), Some(y)) if x.data().len() == y.data().len() => apart(x, y),
            _ => f64::INFINITY,
        },
    ));
    Ok(layers)
}

impl Side {
    /// The values of all nodes.
    fn run(&self, picture: &Tensor) -> Result<Outputs, ModelError> {
        let keep = self.graph.iter().map(|(id, _)| id).collect();
        let options = Options { batch: 1, keep, ..Options::default() };
        let mut network = Interpreter.compile(&self.graph, &self.params, &options)?;
        Ok(network.run(picture)?)
    }

    /// The value of a node, which has another name where it is an output.
    fn value<'o>(&self, outputs: &'o Outputs, id: NodeId) -> Option<&'o Tensor> {
        let output = self.graph.outputs().iter().find(|output| output.node == id);
        outputs.get(output.map_or(&self.graph.node(id).name, |output| &output.name))
    }
}

/// The largest difference, as a share of the largest value.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let largest = a.data().iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    let pairs = a.data().iter().zip(b.data());
    let difference = |(a, b): (&f32, &f32)| match a.to_bits() == b.to_bits() {
        true => 0.0,
        false => (f64::from(*a) - f64::from(*b)).abs() / largest.max(f64::MIN_POSITIVE),
    };
    // A NaN is as far from a number as can be.
    pairs.map(difference).fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) })
}
