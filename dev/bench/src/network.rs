//! Networks of the zoo with weights and pictures that are the same in every run.

use striate_exec::{Backend, Executable, Native, Options};
use striate_graph::op::Role;
use striate_graph::{Graph, Params};
use striate_tensor::Tensor;
use striate_zoo::Architecture;

pub(crate) struct Network {
    graph: Graph,
    params: Params,
}

impl Network {
    /// Of the name, or what is wrong with it.
    pub(crate) fn named(name: &str) -> Result<Network, String> {
        Network::of(striate_zoo::find(name).map_err(|e| e.to_string())?)
    }

    /// Weights are counted, not drawn: an emulator is in no hurry. They keep the size of what flows
    /// through.
    pub(crate) fn of(entry: &Architecture) -> Result<Network, String> {
        let graph = entry.build(&entry.config()).map_err(|e| e.to_string())?;
        let mut params = Params::zeros(&graph);
        let layout = params.layout().clone();
        for param in layout.params() {
            let values = &mut params.values_mut()[param.range.clone()];
            match param.slot.role {
                Role::Weight => {
                    let inputs: usize = param.slot.shape.iter().skip(1).product();
                    let bound = (6.0 / inputs as f32).sqrt();
                    values.iter_mut().enumerate().for_each(|(i, w)| *w = bound * number(i));
                }
                Role::Scale => values.fill(1.0),
                Role::Bias | Role::Shift | Role::Mean | Role::Variance | Role::Fixed => {}
            }
        }
        params.sever(&graph);
        Ok(Network { graph, params })
    }

    pub(crate) fn compile(&self, options: &Options) -> Result<Box<dyn Executable>, String> {
        Native::default().compile(&self.graph, &self.params, options).map_err(|e| e.to_string())
    }

    /// Multiply-adds of an image.
    pub(crate) fn macs(&self) -> usize {
        self.graph.cost().iter().map(|cost| cost.macs).sum::<u64>() as usize
    }

    pub(crate) fn images(&self, count: usize) -> Tensor {
        let mut images = Tensor::zeros(&self.graph.input().batched(count));
        images.data_mut().iter_mut().enumerate().for_each(|(i, x)| *x = number(i));
        images
    }
}

/// Counted numbers in [−1, 1], without a pattern that a layer would see.
pub(crate) fn number(i: usize) -> f32 {
    let bits = (i as u32).wrapping_mul(0x9e37_79b9);
    ((bits ^ (bits >> 15)).wrapping_mul(0x85eb_ca6b) >> 8) as f32 / (1 << 23) as f32 - 1.0
}
