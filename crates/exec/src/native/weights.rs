//! What the steps multiply and add, in the order in which the kernels read it.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use striate_graph::{Graph, NodeId, Param, ParamSource, SourceError};
use striate_kernels::Threads;
use striate_kernels::blocked::{Buffer, LANES, Pixel, blocks, pack};

use super::Plan;
use super::choose::{Lanes, Method};
use super::program::{Action, Tail};
use crate::{CompileError, backend};

/// Of all steps.
#[derive(Debug)]
pub(crate) struct Weights {
    /// What convolutions and linear layers multiply, one after the other.
    packed: Buffer,
    steps: Vec<StepWeights>,
}

/// Of a step.
#[derive(Debug, Default)]
pub(crate) struct StepWeights {
    /// Where its own are.
    packed: Range<usize>,
    /// Values a channel, one block after the other: bias; scale and shift of a pre-activation or of
    /// what stands alone.
    pub(crate) channels: Vec<Vec<Pixel>>,
    /// Codes, as they are.
    pub(crate) plain: Vec<f32>,
}

impl Weights {
    /// A copy, made of pieces: of the source's values no more is in memory at a time than each
    /// thread is at.
    ///
    /// # Errors
    /// [`CompileError::TooLarge`] if there is not so much memory; [`CompileError::Source`].
    pub(crate) fn new(
        graph: &Graph,
        source: &dyn ParamSource,
        plan: &Plan,
        threads: &Threads,
    ) -> Result<Weights, CompileError> {
        let mut end = 0;
        let ranges: Vec<Range<usize>> = (plan.methods.iter())
            .map(|method| {
                let start = end;
                end += method.packed_len();
                start..end
            })
            .collect();
        let mut packed = super::memory(end, plan.batch)?;
        let most = plan.program.steps.iter().zip(&plan.methods);
        let most = most.map(|(step, method)| method.piece_outputs() * step.action.row()).max();
        let room = most.unwrap_or(0).div_ceil(LANES) * threads.count();
        let mut packer =
            Packer { graph, source, plan, threads, room: super::memory(room, plan.batch)? };
        let mut steps = Vec::new();
        for (i, range) in ranges.into_iter().enumerate() {
            let mut step = packer.step(i, &mut packed[range.clone()])?;
            step.packed = range;
            steps.push(step);
        }
        Ok(Weights { packed, steps })
    }

    /// What a convolution or linear layer multiplies, and the rest.
    pub(crate) fn of(&self, step: usize) -> (&[Pixel], &StepWeights) {
        let step = &self.steps[step];
        (&self.packed[step.packed.clone()], step)
    }
}

/// Packs what the steps multiply.
struct Packer<'a> {
    graph: &'a Graph,
    source: &'a dyn ParamSource,
    plan: &'a Plan,
    threads: &'a Threads,
    /// A piece of a tensor for each thread.
    room: Buffer,
}

impl<'a> Packer<'a> {
    fn step(&mut self, at: usize, packed: &mut [Pixel]) -> Result<StepWeights, SourceError> {
        let (step, method) = (&self.plan.program.steps[at], &self.plan.methods[at]);
        let row = |values: &[f32]| match self.plan.lanes {
            Lanes::Channels => in_blocks(self.threads, values),
            Lanes::Pictures => values.iter().map(|value| Pixel([*value; LANES])).collect(),
        };
        Ok(match &step.action {
            Action::Conv(_, tail) | Action::Linear { tail, .. } => {
                let channels = self.graph.node(step.nodes[0]).shape.channels();
                let params = self.params(step.nodes[0]);
                let bias = match params.get(1) {
                    Some(param) => self.values(param)?,
                    None => vec![0.0; channels],
                };
                let (factors, bias) = self.folded(bias, tail)?;
                let mut channels = vec![in_blocks(self.threads, &bias)];
                if let Some((norm, eps)) = tail.activation {
                    channels.extend(self.normalisation(norm, eps)?.map(|v| row(&v)));
                }
                self.pieces(params[0], method, &factors, step.action.row(), packed)?;
                StepWeights { channels, ..StepWeights::default() }
            }
            &Action::BatchNorm { eps, .. } => {
                let norm = self.normalisation(step.nodes[0], eps)?;
                StepWeights { channels: norm.map(|v| row(&v)).to_vec(), ..StepWeights::default() }
            }
            Action::Subsample(_) => {
                let params = self.params(step.nodes[0]).into_iter();
                let channels = params.map(|param| Ok(row(&self.values(param)?)));
                StepWeights {
                    channels: channels.collect::<Result<_, SourceError>>()?,
                    ..StepWeights::default()
                }
            }
            Action::Rbf => {
                let plain = self.values(self.params(step.nodes[0])[0])?;
                StepWeights { plain, ..StepWeights::default() }
            }
            Action::Pack
            | Action::MaxPool(_)
            | Action::AvgPool(_)
            | Action::AdaptiveAvgPool
            | Action::Lrn(_)
            | Action::Relu
            | Action::Tanh { .. }
            | Action::Sigmoid
            | Action::Softmax { .. }
            | Action::Clip(_)
            | Action::Add { .. }
            | Action::AddScaled(_)
            | Action::Concat
            | Action::Flatten
            | Action::Shortcut(_) => StepWeights::default(),
        })
    }

    /// The tensors of a node, in the order of [`Op::slots`](striate_graph::Op::slots).
    fn params(&self, id: NodeId) -> Vec<&'a Param> {
        let (graph, layout) = (self.graph, self.source.layout());
        let names = backend::names(graph, graph.node(id));
        names.iter().filter_map(|name| layout.find(name)).collect()
    }

    fn values(&self, param: &Param) -> Result<Vec<f32>, SourceError> {
        let mut values = vec![0.0; param.range.len()];
        self.source.read(param, 0, &mut values)?;
        Ok(values)
    }

    /// Packs a tensor piece by piece: rows of so many values, each multiplied by its factor, if
    /// there are any.
    fn pieces(
        &mut self,
        param: &Param,
        method: &Method,
        factors: &[f64],
        row: usize,
        packed: &mut [Pixel],
    ) -> Result<(), SourceError> {
        let (source, outputs) = (self.source, method.piece_outputs());
        // Of the first piece that has one, whichever thread is there first.
        let failed: Mutex<Option<(usize, SourceError)>> = Mutex::new(None);
        let room = Pixel::numbers_mut(&mut self.room);
        self.threads.chunks_with(packed, method.piece_len().max(1), room, |piece, packed, room| {
            let from = piece * outputs * row;
            let values = &mut room[..(outputs * row).min(param.range.len() - from)];
            if let Err(error) = source.read(param, from, values) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                if failed.as_ref().is_none_or(|(earlier, _)| piece < *earlier) {
                    *failed = Some((piece, error));
                }
                return;
            }
            if let Some(factors) = factors.get(piece * outputs..) {
                for (values, factor) in values.chunks_exact_mut(row).zip(factors) {
                    values.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
                }
            }
            method.pack(piece, values, packed);
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Scale and shift of a batch normalisation by its running statistics.
    fn normalisation(&self, id: NodeId, eps: f32) -> Result<[Vec<f32>; 2], SourceError> {
        let affine = self.affine(id, eps)?;
        Ok([
            affine.iter().map(|(scale, _)| *scale as f32).collect(),
            affine.iter().map(|(_, shift)| *shift as f32).collect(),
        ])
    }

    fn affine(&self, id: NodeId, eps: f32) -> Result<Affine, SourceError> {
        let slots = self.params(id).into_iter().map(|param| self.values(param));
        let slots: Vec<Vec<f32>> = slots.collect::<Result<_, _>>()?;
        let [scale @ .., shift, mean, variance] = &slots[..] else {
            unreachable!("batch normalisation has them")
        };
        let channel = |c: usize| {
            let scale = scale.first().map_or(1.0, |scale| f64::from(scale[c]));
            let factor = scale / (f64::from(variance[c]) + f64::from(eps)).sqrt();
            (factor, f64::from(shift[c]) - f64::from(mean[c]) * factor)
        };
        Ok((0..self.graph.node(id).shape.channels()).map(channel).collect())
    }

    /// What the weights are multiplied by, and the bias, of `norms(weight · x + bias)`; no factors
    /// if there are no norms.
    fn folded(&self, bias: Vec<f32>, tail: &Tail) -> Result<(Vec<f64>, Vec<f32>), SourceError> {
        let norms = tail.norms.iter().map(|&(id, eps)| self.affine(id, eps));
        let norms: Vec<Affine> = norms.collect::<Result<_, _>>()?;
        if norms.is_empty() {
            return Ok((Vec::new(), bias));
        }
        let through = |(channel, bias): (usize, f32)| {
            norms.iter().fold((1.0, f64::from(bias)), |(factor, shift), norm| {
                (factor * norm[channel].0, shift * norm[channel].0 + norm[channel].1)
            })
        };
        let through = bias.into_iter().enumerate().map(through);
        Ok(through.map(|(factor, shift)| (factor, shift as f32)).unzip())
    }
}

/// Batch normalisation as a factor and a summand for each channel.
type Affine = Vec<(f64, f64)>;

/// A value a channel, in blocks.
fn in_blocks(threads: &Threads, values: &[f32]) -> Vec<Pixel> {
    let mut row = vec![Pixel::ZERO; blocks(values.len())];
    pack(threads, [1, values.len(), 1], values, &mut row);
    row
}
