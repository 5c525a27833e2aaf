//! Where the learned values of a network come from, a piece of a tensor at a time.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use striate_tensor::Rng;
use striate_tensor::strided::{self, Axis};

use crate::op::Role;
use crate::{Graph, Init, Op, Param, ParamLayout, Params};

/// Learned values of a network, wherever they are: in memory ([`Params`]), in a file, yet to be
/// drawn ([`Drawn`]). Who reads them piece by piece never holds more than a piece.
pub trait ParamSource: Sync {
    /// Which tensors there are.
    fn layout(&self) -> &ParamLayout;

    /// Writes values of a tensor, from the `from`-th on, to `to`. Connections that the network
    /// leaves out are zero. Pieces may be read in any order, and by several threads.
    ///
    /// # Errors
    /// [`SourceError`] if they cannot be read.
    ///
    /// # Panics
    /// If the tensor is not one of the layout, or has fewer values.
    fn read(&self, param: &Param, from: usize, to: &mut [f32]) -> Result<(), SourceError>;

    /// The same of values in another order: a view of the tensor, from the `from`-th value on, the
    /// last axis the fastest.
    ///
    /// # Errors
    /// As [`read`](ParamSource::read).
    ///
    /// # Panics
    /// As [`read`](ParamSource::read), and if `to` has more or fewer values than the view.
    fn gather(
        &self,
        param: &Param,
        from: usize,
        view: &[Axis],
        to: &mut [f32],
    ) -> Result<(), SourceError> {
        strided::gather(view, |at, to| self.read(param, from + at, to), to)
    }

    /// How the values of a tensor lie where they are stored, if not one after the other: a view of
    /// what is stored, with as many values.
    fn stored(&self, _: &Param) -> Option<&[Axis]> {
        None
    }
}

/// Why a [`ParamSource`] has no values: an error of its own kind, shown as it is.
#[derive(Clone, Debug)]
pub struct SourceError(Arc<dyn Error + Send + Sync>);

impl SourceError {
    /// For `map_err`.
    pub fn new(error: impl Error + Send + Sync + 'static) -> SourceError {
        SourceError(Arc::new(error))
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Whether they are one and the same.
impl PartialEq for SourceError {
    fn eq(&self, other: &SourceError) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SourceError {}

impl ParamSource for Params {
    fn layout(&self) -> &ParamLayout {
        Params::layout(self)
    }

    fn read(&self, param: &Param, from: usize, to: &mut [f32]) -> Result<(), SourceError> {
        to.copy_from_slice(&self.values()[param.range.clone()][from..][..to.len()]);
        Ok(())
    }
}

/// Freshly drawn values, which are drawn when they are read. The same seed gives the same values,
/// and a tensor's values depend on its name alone, not on what else the network has.
#[derive(Debug)]
pub struct Drawn<'g> {
    graph: &'g Graph,
    layout: Arc<ParamLayout>,
    init: Init,
    rng: Rng,
    /// The first value of a tensor, and all of them: of one that has to be drawn from its beginning.
    whole: Mutex<(usize, Vec<f32>)>,
}

impl<'g> Drawn<'g> {
    /// The values of a network, of the seed of `rng`.
    pub fn new(graph: &'g Graph, init: &Init, rng: &Rng) -> Drawn<'g> {
        let layout = Arc::new(graph.layout());
        Drawn { graph, layout, init: *init, rng: rng.clone(), whole: Mutex::default() }
    }

    /// All values.
    pub fn params(&self) -> Params {
        let mut params = Params::zeros_of(self.graph, Arc::clone(&self.layout));
        for param in self.layout.params() {
            self.fill(param, 0, &mut params.values_mut()[param.range.clone()]);
        }
        params
    }

    fn fill(&self, param: &Param, from: usize, to: &mut [f32]) {
        self.init.fill(self.graph, param, &self.rng, from, to);
        self.graph.sever(param, from, to);
    }
}

impl ParamSource for Drawn<'_> {
    fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    fn read(&self, param: &Param, from: usize, to: &mut [f32]) -> Result<(), SourceError> {
        if self.init.skips() || to.len() == param.range.len() {
            self.graph.preset(param, from, to);
            self.fill(param, from, to);
            return Ok(());
        }
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if whole.1.len() != param.range.len() || whole.0 != param.range.start {
            let mut values = vec![0.0; param.range.len()];
            self.graph.preset(param, 0, &mut values);
            self.fill(param, 0, &mut values);
            *whole = (param.range.start, values);
        }
        to.copy_from_slice(&whole.1[from..][..to.len()]);
        Ok(())
    }
}

impl Graph {
    /// What values of a tensor, from the `from`-th on, are before any are drawn or learned: zero,
    /// but for variances, which are one, and fixed codes.
    pub(crate) fn preset(&self, param: &Param, from: usize, to: &mut [f32]) {
        match (param.slot.role, &self.node(param.node).op) {
            (Role::Variance, _) => to.fill(1.0),
            (Role::Fixed, Op::Rbf(rbf)) => {
                to.iter_mut().zip(rbf.weight().skip(from)).for_each(|(to, code)| *to = code);
            }
            _ => to.fill(0.0),
        }
    }

    /// Sets values of a tensor, of which `values` are those from the `from`-th on, to zero where
    /// they are weights of connections that a table leaves out.
    pub fn sever(&self, param: &Param, from: usize, values: &mut [f32]) {
        let Op::Conv2d(conv) = &self.node(param.node).op else { return };
        let (Some(table), Role::Weight) = (&conv.table, param.slot.role) else { return };
        let (inputs, area) = (param.slot.shape[1], conv.kernel.area());
        for (i, value) in values.iter_mut().enumerate() {
            let kernel = (from + i) / area;
            if !table.connects(kernel % inputs, kernel / inputs) {
                *value = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    #[test]
    fn pieces_are_those_of_the_whole() {
        let graph = Graph::build(Shape::map(2, 4, 4), |x| {
            let x = x.at("conv").conv(3, 3).table(&["X.X", "XX."]).at("bn").batch_norm();
            x.flatten().at("fc").linear(3).at("rbf").rbf(vec![vec![true, false, true]; 2])
        })
        .unwrap();
        let inits = [
            Init::LeCun,
            Init::Gaussian { deviation: 0.1, ones: &["conv"] },
            Init::Xavier { bias: 0.2 },
            Init::KaimingFanIn,
            Init::KaimingFanOut,
            Init::Truncated { deviation: 0.1 },
        ];
        for init in inits {
            let drawn = Drawn::new(&graph, &init, &Rng::new(3));
            let params = Params::init(&graph, &init, &Rng::new(3));
            let sources: [&dyn ParamSource; 2] = [&drawn, &params];
            for (param, values) in params.iter() {
                for source in sources {
                    for len in [1, 7, values.len()] {
                        let mut piece = vec![f32::NAN; len.min(values.len())];
                        // From the last to the first.
                        for from in (0..values.len()).step_by(len).rev() {
                            let piece = &mut piece[..len.min(values.len() - from)];
                            source.read(param, from, piece).unwrap();
                            assert_eq!(piece, &values[from..][..piece.len()], "{init:?} {param:?}");
                        }
                    }
                }
            }
        }
    }
}
