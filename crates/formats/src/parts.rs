//! Values of parameters, written a part at a time, by several threads, each part where it belongs.
//!
//! A part is read in runs that are long where the values are stored and written in runs that are
//! long in the file, which no rows of one or the other are: of VGG-16's first dense layer Keras has
//! each pixel with all its channels, which elsewhere are 49 values apart.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use striate_graph::{Param, ParamSource};
use striate_tensor::strided::{self, Axis, PANEL};

use crate::Dtype;
use crate::checksum::Checksum;
use crate::disk::Disk;

/// Values of a run that is long: a longer one is no cheaper.
const PIECE: usize = 1 << 16;

/// Threads that read and write, at most: each has a part.
const THREADS: usize = 4;

/// Values of a parameter, and how a file has them.
pub(crate) struct Placed<'w> {
    source: &'w dyn ParamSource,
    param: &'w Param,
    dtype: Dtype,
    /// Byte of the first.
    at: u64,
    /// From the slowest axis of the file to its fastest: how the values lie in our order.
    view: Vec<Axis>,
    /// How many indices of each axis make a part.
    extents: Vec<usize>,
    /// Sees the bytes that are written.
    checksum: Option<Arc<Checksum>>,
}

impl<'w> Placed<'w> {
    /// All values in our order, or those of a view.
    pub(crate) fn new(
        source: &'w dyn ParamSource,
        param: &'w Param,
        view: Option<Vec<Axis>>,
        dtype: Dtype,
        at: u64,
    ) -> Placed<'w> {
        let stored = source.stored(param);
        let view = view.unwrap_or_else(|| match stored {
            Some(axes) => strided::dense(axes),
            None => vec![Axis::new(param.range.len(), 1)],
        });
        let there = stored.and_then(|axes| strided::composed(axes, 0, &view));
        let extents = extents(there.as_ref().map_or(&view, |(_, axes)| axes));
        Placed { source, param, dtype, at, view, extents, checksum: None }
    }

    /// With a checksum of its bytes.
    pub(crate) fn summed(self, checksum: Arc<Checksum>) -> Placed<'w> {
        Placed { checksum: Some(checksum), ..self }
    }

    /// The bytes of all values.
    pub(crate) fn bytes(&self) -> Range<u64> {
        let values: usize = self.view.iter().map(|axis| axis.extent).product();
        self.at..self.at + values as u64 * self.dtype.size() as u64
    }

    /// Of each axis, how many parts it is cut into.
    fn counts(&self) -> impl Iterator<Item = usize> {
        self.view.iter().zip(&self.extents).map(|(axis, extent)| axis.extent.div_ceil(*extent))
    }

    /// All parts.
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let counts: Vec<usize> = self.counts().collect();
        let file = strided::dense(&self.view);
        (0..counts.iter().product()).map(move |mut index| {
            let (mut from, mut first) = (0, 0);
            let (mut view, mut file) = (self.view.clone(), file.clone());
            for i in (0..view.len()).rev() {
                let begin = index % counts[i] * self.extents[i];
                index /= counts[i];
                from += begin * view[i].stride;
                first += begin * file[i].stride;
                let extent = self.extents[i].min(view[i].extent - begin);
                (view[i].extent, file[i].extent) = (extent, extent);
            }
            Part { of: self, from, first, view, file }
        })
    }

    /// Hands out all values, a part at a time, in any order.
    pub(crate) fn each(&self, see: &mut dyn FnMut(&[f32])) -> io::Result<()> {
        let mut room = Vec::new();
        self.parts().try_for_each(|part| part.read(&mut room).map(&mut *see))
    }
}

/// Writes all values.
pub(crate) fn write(disk: &Disk, values: &[Placed<'_>]) -> io::Result<()> {
    let count: usize = values.iter().map(|placed| placed.counts().product::<usize>()).sum();
    let parts = Mutex::new(values.iter().flat_map(Placed::parts));
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let (mut room, mut bytes) = (Vec::new(), Vec::new());
        while let Some(part) = next() {
            let written = part.write(disk, &mut room, &mut bytes);
            if written.is_err() {
                // The others are not begun.
                while next().is_some() {}
                return written;
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    thread::scope(|scope| {
        // As many as there may be.
        let begin = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads.min(count)).map_while(begin).collect();
        let ended = |_| Err(io::Error::other("a thread that wrote values ended"));
        let own = work();
        others.into_iter().fold(own, |all, other| all.and(other.join().unwrap_or_else(ended)))
    })
}

/// Of each axis some indices.
struct Part<'p> {
    of: &'p Placed<'p>,
    /// Its first value in our order, and in the file's.
    from: usize,
    first: usize,
    /// How its values lie in our order, and in the file's.
    view: Vec<Axis>,
    file: Vec<Axis>,
}

impl Part<'_> {
    fn read<'r>(&self, room: &'r mut Vec<f32>) -> io::Result<&'r [f32]> {
        let Placed { source, param, .. } = self.of;
        room.resize(self.view.iter().map(|axis| axis.extent).product(), 0.0);
        source.gather(param, self.from, &self.view, room).map_err(io::Error::other)?;
        Ok(room)
    }

    fn write(&self, disk: &Disk, room: &mut Vec<f32>, bytes: &mut Vec<u8>) -> io::Result<()> {
        let values = self.read(room)?;
        let Placed { dtype, at: begin, ref checksum, .. } = *self.of;
        // The axes along which they follow each other in the file as they do here.
        let (mut run, mut apart) = (1, &self.file[..]);
        while let [rest @ .., axis] = apart
            && (axis.stride == run || axis.extent == 1)
        {
            run *= axis.extent;
            apart = rest;
        }
        // Pieces in the order of the file, and the byte of the first value of each.
        let pieces = || {
            let runs = values.chunks_exact(run).enumerate().map(|(i, run)| (place(apart, i), run));
            runs.flat_map(|(from, run)| {
                let pieces = run.chunks(PIECE).enumerate();
                pieces.map(move |(i, piece)| (self.first + from + i * PIECE, piece))
            })
            .map(|(at, piece)| (at as u64 * dtype.size() as u64, piece))
        };
        if let Some(checksum) = checksum {
            let mut sum = checksum.part();
            pieces().for_each(|(at, values)| sum.see(dtype.bytes(values, bytes), at));
        }
        let _turn = disk.turn();
        pieces()
            .try_for_each(|(at, values)| disk.write_all_at(dtype.bytes(values, bytes), begin + at))
    }
}

/// How many indices of each axis of a view make a part: as many as make what is read and what is
/// written long runs, before a part is too large. A run that is written costs more than one that is
/// read.
fn extents(view: &[Axis]) -> Vec<usize> {
    const WRITTEN: f64 = 16.0;
    let file: Vec<usize> = (0..view.len()).rev().collect();
    let mut stored = file.clone();
    stored.sort_by_key(|&i| view[i].stride);
    // How many values follow each other in an order of the axes, the fastest first.
    let run = |order: &[usize], extents: &[usize]| {
        let whole = order.iter().take_while(|&&i| extents[i] == view[i].extent).count();
        let axes = order.iter().take(whole + 1);
        axes.map(|&i| extents[i]).product::<usize>().min(PIECE) as f64
    };
    let cost = |extents: &[usize]| 1.0 / run(&stored, extents) + WRITTEN / run(&file, extents);
    // All threads have some.
    let all: usize = view.iter().map(|axis| axis.extent).product();
    let large = PANEL.min((all / THREADS).max(PIECE));
    let mut extents = vec![1; view.len()];
    loop {
        let volume: usize = extents.iter().product();
        let longer = (0..view.len()).filter_map(|i| {
            let most = (large / (volume / extents[i])).min(view[i].extent);
            let mut longer = extents.clone();
            longer[i] = (2 * extents[i]).min(most);
            (longer[i] > extents[i]).then_some(longer)
        });
        match longer.min_by(|a, b| cost(a).total_cmp(&cost(b))) {
            Some(longer) if cost(&longer) < cost(&extents) => extents = longer,
            Some(_) | None => return extents,
        }
    }
}

/// Where the value of an index is, the last axis the fastest.
fn place(axes: &[Axis], mut index: usize) -> usize {
    let places = axes.iter().rev().map(|axis| {
        let place = index % axis.extent * axis.stride;
        index /= axis.extent;
        place
    });
    places.sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use striate_graph::{Graph, ParamLayout, Params, Shape, SourceError};

    use super::*;

    /// Parameters of which those with as many values are stored in another order.
    pub(crate) struct Stored<const N: usize>(pub(crate) Params, pub(crate) [Axis; N]);

    impl<const N: usize> ParamSource for Stored<N> {
        fn layout(&self) -> &ParamLayout {
            self.0.layout()
        }

        fn read(&self, param: &Param, at: usize, to: &mut [f32]) -> Result<(), SourceError> {
            self.0.read(param, at, to)
        }

        fn stored(&self, param: &Param) -> Option<&[Axis]> {
            let values: usize = self.1.iter().map(|axis| axis.extent).product();
            (values == param.range.len()).then_some(&self.1)
        }
    }

    /// Of a dense layer behind a map of 519 × 7 × 7.
    fn network() -> Graph {
        let graph = Graph::build(Shape::map(519, 7, 7), |x| x.flatten().at("fc").linear(601));
        graph.unwrap()
    }

    /// Every value once, and where it belongs: `file` tells of a place in our order that of the file.
    fn check(placed: &Placed<'_>, file: impl Fn(usize) -> usize) {
        let mut seen = vec![false; placed.param.range.len()];
        for part in placed.parts() {
            let volume: usize = part.view.iter().map(|axis| axis.extent).product();
            assert!(volume <= PANEL);
            for i in 0..volume {
                let at = part.first + place(&part.file, i);
                assert_eq!(at, file(part.from + place(&part.view, i)));
                assert!(!std::mem::replace(&mut seen[at], true));
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn parts_are_the_whole() {
        let zeros = Params::zeros(&network());
        let weight = zeros.layout().find("fc.weight").unwrap();
        // Height, width and channels of what it reads, then what it computes.
        let view = [(7, 7), (7, 1), (519, 49), (601, 25431)].map(|(n, s)| Axis::new(n, s));
        let placed = Placed::new(&zeros, weight, Some(view.to_vec()), Dtype::F32, 40);
        assert_eq!(placed.extents, [7, 7, 129, 601]);
        check(&placed, |ours| {
            let (output, input) = (ours / 25431, ours % 25431);
            let (channel, pixel) = (input / 49, input % 49);
            (pixel * 519 + channel) * 601 + output
        });
        let placed = Placed::new(&zeros, weight, None, Dtype::F32, 40);
        assert_eq!(placed.extents, [PIECE]);
        check(&placed, |ours| ours);
        let scalar = Placed::new(&zeros, weight, Some(Vec::new()), Dtype::F32, 40);
        assert_eq!((scalar.bytes(), scalar.parts().count()), (40..44, 1));
    }

    /// What is stored as Keras has it is written in runs of inputs, each read for all outputs.
    #[test]
    fn parts_are_cut_as_values_are_stored() {
        let axes = [(601, 1), (519, 601), (7, 7 * 519 * 601), (7, 519 * 601)];
        let stored = Stored(Params::zeros(&network()), axes.map(|(n, s)| Axis::new(n, s)));
        let weight = stored.layout().find("fc.weight").unwrap();
        let placed = Placed::new(&stored, weight, None, Dtype::F16, 40);
        assert_eq!(placed.extents, [601, 129, 7, 7]);
        assert_eq!(placed.bytes(), 40..40 + 2 * 601 * 25431);
        check(&placed, |ours| ours);
    }
}
