//! Softmax over the channels of each pixel.

use super::{LANES, Pixel, blocks};
use crate::softmax::share;
use crate::threads::Threads;

/// `eˣ / Σ eˣ`, or its logarithm, of maps of `[pictures, channels, area]`, with zeros in the lanes that are no channel.
///
/// # Panics
/// If a value has another length than the sizes say.
pub fn softmax(
    threads: &Threads,
    [pictures, channels, area]: [usize; 3],
    log: bool,
    x: &[Pixel],
    y: &mut [Pixel],
) {
    let own = blocks(channels);
    assert_eq!([x.len(), y.len()], [pictures * own * area; 2], "lengths of x, y");
    threads.chunks(y, (own * area).max(1), |picture, y| {
        let x = &x[picture * own * area..][..own * area];
        for pixel in 0..area {
            let at = |channel: usize| (channel / LANES * area + pixel, channel % LANES);
            let value = |channel: usize| {
                let (pixel, lane) = at(channel);
                x[pixel].0[lane]
            };
            // What is not a number makes all of them none.
            let most = (0..channels).map(value).fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = (0..channels).map(|c| f64::from((value(c) - most).exp())).sum();
            for channel in 0..own * LANES {
                let (pixel, lane) = at(channel);
                y[pixel].0[lane] = match channel < channels {
                    true => share(value(channel) - most, sum, log),
                    false => 0.0,
                };
            }
        }
    });
}
