//! Moving channels about: concatenation where the parts do not fill their blocks, flattening, the
//! shortcut without weights.

use super::{Destination, LANES, Pixel, blocks};
use crate::shortcut::Shortcut;
use crate::threads::Threads;

/// Copies maps of `[pictures, channels, area]` into those of `to`, from its channel `first` on.
/// Written in the order of the channels, parts leave zeros behind the last.
///
/// # Panics
/// If a value has another length than the sizes say.
pub fn concat(
    threads: &Threads,
    [pictures, channels, area]: [usize; 3],
    x: &[Pixel],
    first: usize,
    to: Destination<'_>,
) {
    let own = blocks(channels);
    assert_eq!(x.len(), pictures * own * area, "length of x");
    let offset = first % LANES;
    let Destination { value, blocks: all, at } = to;
    let at = at + first / LANES;
    let reached = blocks(offset + channels);
    assert!(at + reached <= all && value.len() == pictures * all * area, "within the value");
    threads.chunks(value, (all * area).max(1), |picture, maps| {
        let x = &x[picture * own * area..][..own * area];
        let maps = &mut maps[at * area..][..reached * area];
        if offset == 0 {
            return maps.copy_from_slice(x);
        }
        for channel in 0..channels {
            let (from, to) = (channel / LANES, (offset + channel) / LANES);
            let pixels = maps[to * area..][..area].iter_mut().zip(&x[from * area..]);
            for (to, from) in pixels {
                to.0[(offset + channel) % LANES] = from.0[channel % LANES];
            }
        }
        let used = (offset + channels - 1) % LANES + 1;
        for pixel in &mut maps[(reached - 1) * area..] {
            pixel.0[used..].fill(0.0);
        }
    });
}

/// Maps of `[pictures, channels, area]` as rows, channel after channel.
///
/// # Panics
/// If a value has another length than the sizes say.
pub fn flatten(
    threads: &Threads,
    [pictures, channels, area]: [usize; 3],
    x: &[Pixel],
    y: &mut [Pixel],
) {
    let (own, row) = (blocks(channels), blocks(channels * area));
    assert_eq!([x.len(), y.len()], [pictures * own * area, pictures * row], "lengths of x, y");
    threads.chunks(y, row.max(1), |picture, y| {
        let x = &x[picture * own * area..][..own * area];
        y.iter_mut().for_each(|pixel| pixel.0.fill(0.0));
        for channel in 0..channels {
            for (pixel, x) in x[channel / LANES * area..][..area].iter().enumerate() {
                let at = channel * area + pixel;
                y[at / LANES].0[at % LANES] = x.0[channel % LANES];
            }
        }
    });
}

/// Every `stride`-th pixel, and channels of zeros after those that are there.
///
/// # Panics
/// If a value has another length than the geometry says.
///
/// # Source
/// He et al. 2015, "Deep residual learning", §3.3, option A.
pub fn shortcut(threads: &Threads, shortcut: &Shortcut, x: &[Pixel], y: Destination<'_>) {
    let ([c, h, w], [out, height, width]) = (shortcut.input, shortcut.output);
    let (from, to) = (blocks(c), blocks(out));
    assert_eq!(x.len(), shortcut.batch * from * h * w, "length of x");
    y.planes(threads, [shortcut.batch, to], |plane, y| {
        assert_eq!(y.len(), height * width, "length of y");
        let (picture, block) = (plane / to, plane % to);
        if block >= from {
            return y.iter_mut().for_each(|pixel| pixel.0.fill(0.0));
        }
        let x = &x[(picture * from + block) * h * w..][..h * w];
        let lines = x.chunks_exact(w).step_by(shortcut.stride);
        for (y, x) in y.chunks_exact_mut(width).zip(lines) {
            y.iter_mut().zip(x.iter().step_by(shortcut.stride)).for_each(|(y, x)| *y = *x);
        }
    });
}
