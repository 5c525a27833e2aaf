//! The values of a `.weights.h5` file: turned to Keras's order a part at a time, by several threads.
//!
//! A part is read in runs that are long where the values are stored and written in runs that are long in
//! the file, which no rows of one or the other are: of VGG-16's first dense layer each row of a
//! pixel has all channels, 49 values apart.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

use striate_graph::{Param, ParamSource};
use striate_tensor::strided::{Axis, PANEL};

use crate::Dtype;
use crate::pieces::PIECE;
use crate::positioned::Positioned;

/// Threads that turn, at most: each has a part.
const THREADS: usize = 4;

/// Writes the values of parameters, each with its view in Keras's order, one after the other from a
/// byte on.
pub(super) fn write(
    file: &Positioned,
    mut begin: u64,
    weights: &dyn ParamSource,
    values: &[(&Param, Vec<Axis>)],
) -> io::Result<()> {
    let parts = values.iter().flat_map(|(param, view)| {
        let at = begin;
        begin += 4 * param.range.len() as u64;
        parts(param, view, at)
    });
    let parts = Mutex::new(parts);
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let (mut room, mut bytes) = (Vec::new(), Vec::new());
        while let Some(part) = next() {
            let written = part.write(file, weights, &mut room, &mut bytes);
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
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let ended = |_| Err(io::Error::other("a thread that turned values ended"));
        let own = work();
        others.into_iter().fold(own, |all, other| all.and(other.join().unwrap_or_else(ended)))
    })
}

/// A part of a parameter: of each axis some indices.
struct Part<'p> {
    param: &'p Param,
    /// Its first value in our order, and the byte of the file at which that goes.
    from: usize,
    at: u64,
    /// How its values lie in our order, and in the file's.
    view: Vec<Axis>,
    file: Vec<Axis>,
}

impl Part<'_> {
    fn write(
        &self,
        file: &Positioned,
        weights: &dyn ParamSource,
        room: &mut Vec<f32>,
        bytes: &mut Vec<u8>,
    ) -> io::Result<()> {
        let volume = self.view.iter().map(|axis| axis.extent).product();
        room.resize(volume, 0.0);
        weights.gather(self.param, self.from, &self.view, room).map_err(io::Error::other)?;
        // The axes along which they follow each other in the file as they do here.
        let (mut run, mut apart) = (1, &self.file[..]);
        while let [rest @ .., axis] = apart
            && (axis.stride == run || axis.extent == 1)
        {
            run *= axis.extent;
            apart = rest;
        }
        for (i, values) in room.chunks_exact(run).enumerate() {
            let mut at = self.at + 4 * place(apart, i) as u64;
            for values in values.chunks(PIECE) {
                bytes.clear();
                Dtype::F32.encode(values, bytes);
                file.write_all_at(bytes, at)?;
                at += bytes.len() as u64;
            }
        }
        Ok(())
    }
}

/// The parts of a parameter whose values begin at that byte of the file.
fn parts<'p>(
    param: &'p Param,
    view: &[Axis],
    begin: u64,
) -> impl Iterator<Item = Part<'p>> + use<'p> {
    let mut dense = param.range.len();
    let file = view.iter().map(|axis| {
        dense /= axis.extent;
        Axis::new(axis.extent, dense)
    });
    let (view, file, extents) = (view.to_vec(), file.collect::<Vec<_>>(), extents(view));
    let counts: Vec<usize> =
        view.iter().zip(&extents).map(|(axis, extent)| axis.extent.div_ceil(*extent)).collect();
    (0..counts.iter().product()).map(move |mut index| {
        let (mut from, mut at) = (0, begin);
        let (mut view, mut file) = (view.clone(), file.clone());
        for i in (0..view.len()).rev() {
            let first = index % counts[i] * extents[i];
            index /= counts[i];
            from += first * view[i].stride;
            at += 4 * (first * file[i].stride) as u64;
            let extent = extents[i].min(view[i].extent - first);
            (view[i].extent, file[i].extent) = (extent, extent);
        }
        Part { param, from, at, view, file }
    })
}

/// How many indices of each axis of a view make a part: all, but of those along which the values
/// are far apart both here and there, the longest first.
fn extents(view: &[Axis]) -> Vec<usize> {
    let faster = |i: usize| view.iter().filter(|axis| axis.stride < view[i].stride).count();
    let mut extents: Vec<usize> = view.iter().map(|axis| axis.extent).collect();
    let mut whole: Vec<usize> = (0..view.len()).rev().collect();
    let apart = |i: usize| (faster(i).min(view.len() - 1 - i), view[i].extent);
    while let Some(most) = (0..whole.len()).max_by_key(|&at| apart(whole[at])) {
        let i = whole.remove(most);
        let others: usize = extents.iter().product::<usize>() / extents[i];
        extents[i] = (PANEL / others).clamp(1, extents[i]);
    }
    extents
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
mod tests {
    use striate_graph::{Graph, Shape};

    use super::*;

    /// Values of a network whose kernel is more than a part, each once and where it belongs.
    #[test]
    fn parts_are_the_whole() {
        let graph = Graph::build(Shape::map(512, 7, 7), |x| x.flatten().at("fc").linear(601));
        let graph = graph.unwrap();
        let layout = graph.layout();
        let weight = layout.find("fc.weight").unwrap();
        // Height, width and channels of what it reads, then what it computes.
        let view = [(7, 7), (7, 1), (512, 49), (601, 25088)].map(|(n, s)| Axis::new(n, s));
        assert_eq!(extents(&view), [7, 7, 142, 601]);
        let mut seen = vec![false; weight.range.len()];
        for part in parts(weight, &view, 40) {
            let volume: usize = part.view.iter().map(|axis| axis.extent).product();
            assert!(volume <= PANEL);
            for i in 0..volume {
                let ours = part.from + place(&part.view, i);
                let (output, input) = (ours / 25088, ours % 25088);
                let (channel, pixel) = (input / 49, input % 49);
                let file = (pixel * 512 + channel) * 601 + output;
                assert_eq!(part.at + 4 * place(&part.file, i) as u64, 40 + 4 * file as u64);
                assert!(!std::mem::replace(&mut seen[file], true));
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}
