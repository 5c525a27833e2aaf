use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use striate_tensor::{Rng, View};

use crate::op::Slot;
use crate::{Drawn, Graph, Init, NodeId, ParamSource, SourceError};

/// One tensor of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name of the node and leaf: `conv1_1.weight`.
    pub name: String,
    /// The node it belongs to.
    pub node: NodeId,
    /// What it is called behind the name of the node, its extents, what it does.
    pub slot: Slot,
    /// Where its values are in the buffer.
    pub range: Range<usize>,
}

/// Which tensors of parameters a network has, and where they are in one flat buffer: the trained
/// ones first, in the order of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamLayout {
    params: Vec<Param>,
    index: HashMap<String, usize>,
    trained: usize,
    len: usize,
}

impl ParamLayout {
    pub(crate) fn of(graph: &Graph) -> ParamLayout {
        let slots = graph.iter().flat_map(|(id, node)| {
            let slots = node.op.slots(&graph.input_shapes(node));
            slots.into_iter().map(move |slot| (id, format!("{}.{}", node.name, slot.leaf), slot))
        });
        let (trained, fixed): (Vec<_>, Vec<_>) =
            slots.partition(|(_, _, slot)| slot.role.is_trained());
        let mut layout = ParamLayout { params: vec![], index: HashMap::new(), trained: 0, len: 0 };
        for (node, name, slot) in trained.into_iter().chain(fixed) {
            let start = layout.len;
            layout.len += slot.shape.iter().product::<usize>();
            if slot.role.is_trained() {
                layout.trained = layout.len;
            }
            layout.index.insert(name.clone(), layout.params.len());
            layout.params.push(Param { name, node, slot, range: start..layout.len });
        }
        layout
    }

    /// All tensors, the trained ones first.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The tensor of a name.
    pub fn find(&self, name: &str) -> Option<&Param> {
        self.position(name).map(|i| &self.params[i])
    }

    /// Which of [`params`](ParamLayout::params) has a name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the network has no parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of them are trained: the first ones.
    pub fn trained(&self) -> usize {
        self.trained
    }
}

/// All learned values of a network in one flat buffer, the trained ones first; names are a table
/// of ranges into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    layout: Arc<ParamLayout>,
    values: Vec<f32>,
}

impl Params {
    /// Zeros, but for variances, which are one, and fixed codes.
    pub fn zeros(graph: &Graph) -> Params {
        Params::zeros_of(graph, Arc::new(graph.layout()))
    }

    pub(crate) fn zeros_of(graph: &Graph, layout: Arc<ParamLayout>) -> Params {
        let mut params = Params { values: vec![0.0; layout.len()], layout };
        for param in Arc::clone(&params.layout).params() {
            graph.preset(param, 0, &mut params.values[param.range.clone()]);
        }
        params
    }

    /// Freshly drawn values. The same seed gives the same values, and a tensor's values depend on
    /// its name alone, not on what else the network has.
    pub fn init(graph: &Graph, init: &Init, rng: &Rng) -> Params {
        Drawn::new(graph, init, rng).params()
    }

    /// All values of a source.
    ///
    /// # Errors
    /// [`SourceError`] if it cannot be read.
    pub fn read(source: &dyn ParamSource) -> Result<Params, SourceError> {
        let layout = Arc::new(source.layout().clone());
        let mut params = Params { values: vec![0.0; layout.len()], layout };
        for param in Arc::clone(&params.layout).params() {
            source.read(param, 0, &mut params.values[param.range.clone()])?;
        }
        Ok(params)
    }

    /// Sets the weights of connections that a table leaves out to zero, which every reader of the
    /// weights relies on. To be called after values were written from outside.
    pub fn sever(&mut self, graph: &Graph) {
        for param in Arc::clone(&self.layout).params() {
            graph.sever(param, 0, &mut self.values[param.range.clone()]);
        }
    }

    /// Which tensors there are.
    pub fn layout(&self) -> &Arc<ParamLayout> {
        &self.layout
    }

    /// The tensor of a name, `conv1_1.weight`.
    pub fn get(&self, name: &str) -> Option<View<'_>> {
        let param = self.layout.find(name)?;
        Some(View { shape: &param.slot.shape, data: &self.values[param.range.clone()] })
    }

    /// The values of a name, to be written.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        let range = self.layout.find(name)?.range.clone();
        Some(&mut self.values[range])
    }

    /// All tensors with their values, the trained ones first.
    pub fn iter(&self) -> impl Iterator<Item = (&Param, &[f32])> {
        self.layout.params().iter().map(|param| (param, &self.values[param.range.clone()]))
    }

    /// All values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, to be written.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// What optimizers and all-reduce see.
    pub fn trained(&self) -> &[f32] {
        &self.values[..self.layout.trained]
    }

    /// What optimizers and all-reduce see, to be written.
    pub fn trained_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.layout.trained]
    }

    /// The first tensor that holds a NaN or an infinity.
    pub fn first_not_finite(&self) -> Option<&Param> {
        let sick = |(_, values): &(&Param, &[f32])| !values.iter().all(|v| v.is_finite());
        self.iter().find(sick).map(|(param, _)| param)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shape, add};

    fn network() -> Graph {
        Graph::build(Shape::map(2, 4, 4), |x| {
            let y = x.at("conv").conv(3, 3).table(&["X.X", "XX."]).at("bn").batch_norm();
            add(y, y).flatten().at("fc").linear(2)
        })
        .unwrap()
    }

    #[test]
    fn trained_values_come_first() {
        let graph = network();
        let layout = graph.layout();
        let names: Vec<_> = layout.params().iter().map(|param| param.name.as_str()).collect();
        let expected = [
            "conv.weight",
            "conv.bias",
            "bn.weight",
            "bn.bias",
            "fc.weight",
            "fc.bias",
            "bn.running_mean",
            "bn.running_var",
        ];
        assert_eq!(names, expected);
        assert_eq!(layout.trained(), 54 + 3 + 3 + 3 + 96 + 2);
        assert_eq!(layout.len(), layout.trained() + 6);
        assert_eq!(graph.buffers(), 6);
    }

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let (graph, rng) = (network(), Rng::new(5));
        let a = Params::init(&graph, &Init::KaimingFanIn, &rng);
        let b = Params::init(&graph.prune(&[graph.find("bn").unwrap()]), &Init::KaimingFanIn, &rng);
        assert_eq!(a.get("conv.weight"), b.get("conv.weight"));
        let c = Params::init(&graph, &Init::KaimingFanIn, &Rng::new(6));
        assert_ne!(a.get("conv.weight"), c.get("conv.weight"));
        assert_eq!(a.get("bn.running_var").unwrap().data, [1.0; 3]);
    }

    #[test]
    fn absent_connections_have_zero_weights() {
        let params = Params::init(&network(), &Init::LeCun, &Rng::new(1));
        let weight = params.get("conv.weight").unwrap().data;
        // Output map 1 does not read input map 0, output map 2 does not read input map 1.
        assert!(weight[2 * 9..3 * 9].iter().all(|w| *w == 0.0));
        assert!(weight[5 * 9..6 * 9].iter().all(|w| *w == 0.0));
        assert!(weight[..2 * 9].iter().all(|w| *w != 0.0));
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let mut params = Params::zeros(&network());
        assert!(params.first_not_finite().is_none());
        params.get_mut("fc.bias").unwrap()[1] = f32::NAN;
        assert_eq!(params.first_not_finite().unwrap().name, "fc.bias");
    }
}
