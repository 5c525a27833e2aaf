//! The shortcut without weights: every `stride`-th pixel, and channels of zeros after those that
//! are there.
//!
//! He et al. 2015, "Deep residual learning", §3.3, option A.

use crate::threads::Threads;

/// Geometry of the shortcut of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shortcut {
    /// Pictures.
    pub batch: usize,
    /// `[C, H, W]`.
    pub input: [usize; 3],
    /// `[C', ⌈H/stride⌉, ⌈W/stride⌉]`, with C' ≥ C.
    pub output: [usize; 3],
    /// Step, down and right.
    pub stride: usize,
}

/// `y` of `x`.
///
/// # Panics
/// If the sizes do not fit together, or a slice has another length than they say.
pub fn forward(threads: &Threads, shortcut: &Shortcut, x: &[f32], y: &mut [f32]) {
    let [inputs, outputs] = shortcut.checked_maps(x, y);
    let ([c, _, w], [out, _, width]) = (shortcut.input, shortcut.output);
    threads.chunks(y, (out * outputs).max(1), |sample, y| {
        let (maps, zeros) = y.split_at_mut(c * outputs);
        zeros.fill(0.0);
        for (plane, y) in maps.chunks_exact_mut(outputs).enumerate() {
            let x = &x[(sample * c + plane) * inputs..][..inputs];
            let lines = x.chunks_exact(w).step_by(shortcut.stride);
            for (y, x) in y.chunks_exact_mut(width).zip(lines) {
                y.iter_mut().zip(x.iter().step_by(shortcut.stride)).for_each(|(y, x)| *y = *x);
            }
        }
    });
}

/// `dx` of `dy`, overwritten.
///
/// # Panics
/// If the sizes do not fit together, or a slice has another length than they say.
pub fn backward(threads: &Threads, shortcut: &Shortcut, dy: &[f32], dx: &mut [f32]) {
    let [inputs, outputs] = shortcut.checked_maps(dx, dy);
    let ([c, _, w], [out, _, width]) = (shortcut.input, shortcut.output);
    threads.chunks(dx, (c * inputs).max(1), |sample, dx| {
        dx.fill(0.0);
        for (plane, dx) in dx.chunks_exact_mut(inputs).enumerate() {
            let dy = &dy[(sample * out + plane) * outputs..][..outputs];
            let lines = dx.chunks_exact_mut(w).step_by(shortcut.stride);
            for (dx, dy) in lines.zip(dy.chunks_exact(width)) {
                dx.iter_mut().step_by(shortcut.stride).zip(dy).for_each(|(dx, dy)| *dx = *dy);
            }
        }
    });
}

impl Shortcut {
    /// Pixels of a map of the input and of the output.
    fn checked_maps(&self, x: &[f32], y: &[f32]) -> [usize; 2] {
        let (input, output) = (self.input, self.output);
        let fit = input[0] <= output[0]
            && output[1] == input[1].div_ceil(self.stride)
            && output[2] == input[2].div_ceil(self.stride);
        assert!(fit, "sizes of input and output: {self:?}");
        let lens = [input, output].map(|shape| self.batch * shape.iter().product::<usize>());
        assert_eq!([x.len(), y.len()], lens, "lengths of input, output");
        [input[1] * input[2], output[1] * output[2]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{inner, numbers, on_any_threads};

    #[test]
    fn forward_is_the_definition_and_backward_its_adjoint() {
        for (batch, input, output, stride) in [
            (1, [1, 1, 1], [1, 1, 1], 1),
            (2, [3, 6, 8], [6, 3, 4], 2),
            (3, [2, 5, 7], [5, 3, 4], 2),
            (1, [4, 7, 7], [4, 3, 3], 3),
        ] {
            let shortcut = Shortcut { batch, input, output, stride };
            let [xs, ys] = [input, output].map(|s| batch * s.iter().product::<usize>());
            let (x, dy) = (numbers(xs, 1), numbers(ys, 2));
            let y = on_any_threads(|threads| {
                let mut y = vec![f32::NAN; ys];
                forward(threads, &shortcut, &x, &mut y);
                y
            });
            let ([c, h, w], [out, oh, ow]) = (input, output);
            let expected = (0..ys).map(|i| {
                let (sample, channel) = (i / (out * oh * ow), i / (oh * ow) % out);
                let (oy, ox) = (i / ow % oh, i % ow);
                let at = ((sample * c + channel) * h + oy * stride) * w + ox * stride;
                if channel < c { x[at] } else { 0.0 }
            });
            assert!(y.iter().copied().eq(expected));
            let dx = on_any_threads(|threads| {
                let mut dx = vec![f32::NAN; xs];
                backward(threads, &shortcut, &dy, &mut dx);
                dx
            });
            assert!((inner(&x, &dx) - inner(&y, &dy)).abs() < 1e-9);
        }
    }
}
