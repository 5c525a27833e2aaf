//! Dropout (inverted): what is kept is scaled up while training, so that inference does nothing.
//!
//! Srivastava et al. 2014, "Dropout".

use crate::threads::Threads;

/// Elements of a part of the work.
const PART: usize = 1 << 12;

/// `y = x · scale` where `keep(index)`, else 0; `scale` is 1/(1 − p). `keep` must give the same
/// answer for an index whenever it is asked, so that no mask need be kept: a counter-based
/// generator, or a look into a mask.
///
/// # Panics
/// If the lengths differ.
pub fn forward(
    threads: &Threads,
    x: &[f32],
    keep: impl Fn(usize) -> bool + Sync,
    scale: f32,
    y: &mut [f32],
) {
    assert_eq!(x.len(), y.len(), "lengths of x, y");
    threads.chunks(y, PART, |part, y| {
        for (index, (y, x)) in (part * PART..).zip(y.iter_mut().zip(&x[part * PART..])) {
            *y = if keep(index) { x * scale } else { 0.0 };
        }
    });
}

/// `dx` of `dy`, with the `keep` and `scale` of the way forward, which is its own adjoint.
///
/// # Panics
/// If the lengths differ.
pub fn backward(
    threads: &Threads,
    dy: &[f32],
    keep: impl Fn(usize) -> bool + Sync,
    scale: f32,
    dx: &mut [f32],
) {
    forward(threads, dy, keep, scale, dx);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{numbers, on_any_threads};

    #[test]
    fn what_is_kept_is_scaled() {
        let x = numbers(2 * PART + 7, 1);
        let keep = |index: usize| index % 3 == 1;
        for way in [forward, backward] {
            let y = on_any_threads(|threads| {
                let mut y = vec![f32::NAN; x.len()];
                way(threads, &x, keep, 1.5, &mut y);
                y
            });
            let expected = |i: usize| if keep(i) { x[i] * 1.5 } else { 0.0 };
            assert!((0..x.len()).all(|i| y[i] == expected(i)));
        }
    }
}
