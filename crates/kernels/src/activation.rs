//! Activation functions and their gradients, which look at the kept output `y`.

use crate::elementwise::{map, rectified, zip};
use crate::simd::{Kernel, dispatch, mul_add};
use crate::threads::Threads;

/// Elements of a part of the work where it is but moving memory.
const LIGHT: usize = 1 << 14;
/// Elements of a part of the work where there is an exponential to compute.
const HEAVY: usize = 1 << 12;

/// `y = max(0, x)`.
///
/// # Panics
/// If the lengths differ.
pub fn relu(threads: &Threads, x: &[f32], y: &mut [f32]) {
    map(threads, LIGHT, x, y, rectified);
}

/// `dx = dy` where `y > 0`, else 0.
///
/// # Panics
/// If the lengths differ.
pub fn relu_backward(threads: &Threads, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    zip(threads, LIGHT, y, dy, dx, |y, dy| if y <= 0.0 { 0.0 } else { dy });
}

/// `x` within bounds; what is not a number stays so.
///
/// # Panics
/// If the lengths differ.
pub fn clip(threads: &Threads, [min, max]: [f32; 2], x: &[f32], y: &mut [f32]) {
    map(threads, LIGHT, x, y, |x| {
        if x < min {
            min
        } else if x > max {
            max
        } else {
            x
        }
    });
}

/// `dx = dy` where `y` lies between the bounds, else 0.
///
/// # Panics
/// If the lengths differ.
pub fn clip_backward(
    threads: &Threads,
    [min, max]: [f32; 2],
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    zip(threads, LIGHT, y, dy, dx, |y, dy| if y <= min || y >= max { 0.0 } else { dy });
}

/// `y = a · tanh(s · x)`; LeNet-5 has `a` = 1.7159, `s` = 2/3.
///
/// # Panics
/// If the lengths differ.
pub fn tanh(threads: &Threads, a: f32, s: f32, x: &[f32], y: &mut [f32]) {
    curve(threads, x, y, Tanh { a, s });
}

/// `dx = dy · a·s·(1 − (y/a)²)`.
///
/// # Panics
/// If the lengths differ.
pub fn tanh_backward(threads: &Threads, a: f32, s: f32, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let over = s / a;
    zip(threads, LIGHT, y, dy, dx, |y, dy| dy * (over * (a - y) * (a + y)));
}

/// `y = 1 / (1 + exp(−x))`.
///
/// # Panics
/// If the lengths differ.
pub fn sigmoid(threads: &Threads, x: &[f32], y: &mut [f32]) {
    curve(threads, x, y, Sigmoid);
}

/// `dx = dy · y·(1 − y)`.
///
/// # Panics
/// If the lengths differ.
pub fn sigmoid_backward(threads: &Threads, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    zip(threads, LIGHT, y, dy, dx, |y, dy| dy * (y * (1.0 - y)));
}

/// A function that is compiled for each instruction set.
pub(crate) trait Curve: Copy + Sync {
    fn at<const FMA: bool>(self, x: f32) -> f32;
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh {
    pub(crate) a: f32,
    pub(crate) s: f32,
}

impl Curve for Tanh {
    /// tanh|x| = m/(m + 2) with m = exp(2|x|) − 1, which is exact near zero as well.
    #[inline(always)]
    fn at<const FMA: bool>(self, x: f32) -> f32 {
        let x = self.s * x;
        let Power { two_to_n, rest } = exp::<FMA>(2.0 * x.abs());
        let m = mul_add::<FMA>(two_to_n, rest, two_to_n - 1.0);
        self.a * (m / (m + 2.0)).copysign(x)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Curve for Sigmoid {
    #[inline(always)]
    fn at<const FMA: bool>(self, x: f32) -> f32 {
        let Power { two_to_n, rest } = exp::<FMA>(-x);
        1.0 / (1.0 + mul_add::<FMA>(two_to_n, rest, two_to_n))
    }
}

/// A power of e, 2ⁿ · (1 + rest).
struct Power {
    two_to_n: f32,
    rest: f32,
}

/// `eˣ` to about one unit in the last place (Cephes `expf`), without branches: x = n·ln 2 + r, and
/// 2ⁿ is put together from bits. Beyond ±87 it stays at what it is there.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> Power {
    /// Added to a small number, leaves its nearest integer in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = mul_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, 2.121_944_4e-4, mul_add::<FMA>(n, -0.693_359_4, x));
    let [first, series @ ..] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5];
    let sum = series.iter().fold(first, |sum, coefficient| mul_add::<FMA>(sum, r, *coefficient));
    let two_to_n = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    Power { two_to_n, rest: mul_add::<FMA>(sum * r, r, r) }
}

pub(crate) fn curve(threads: &Threads, x: &[f32], y: &mut [f32], curve: impl Curve) {
    assert_eq!(x.len(), y.len(), "lengths of x, y");
    threads.chunks(y, HEAVY, |part, y| {
        let x = &x[part * HEAVY..][..y.len()];
        dispatch(Map { x, y, curve });
    });
}

struct Map<'a, C> {
    x: &'a [f32],
    y: &'a mut [f32],
    curve: C,
}

impl<C: Curve> Kernel for Map<'_, C> {
    #[inline(always)]
    fn run<const FMA: bool, const LANES: usize, const ROWS: usize>(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = self.curve.at::<FMA>(x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, differences, numbers, on_any_threads, wide};
    use crate::simd;

    /// −20 to 20, some very small numbers, both zeros.
    fn line() -> Vec<f32> {
        let small = (0..60).map(|i| 2.0_f32.powi(-i)).flat_map(|x| [x, -x]);
        (-20_000..=20_000).map(|i| i as f32 / 1000.0).chain(small).chain([0.0, -0.0]).collect()
    }

    /// The largest error of `curve` on any instruction set, relative to the value.
    fn error(curve: impl Curve, exact: impl Fn(f64) -> f64) -> f64 {
        let x = line();
        let mut outputs = vec![vec![0.0; x.len()]; 3];
        let mut unused = outputs.iter_mut();
        simd::tests::each(|| Map { x: &x, y: unused.next().expect("three at most"), curve });
        let used = 3 - unused.len();
        let error = |(&y, &x): (&f32, &f32)| {
            let exact = exact(f64::from(x));
            if exact == 0.0 { f64::from(y).abs() } else { ((f64::from(y) - exact) / exact).abs() }
        };
        outputs[..used].iter().flat_map(|y| y.iter().zip(&x)).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn curves_are_exact_to_a_few_units() {
        let (tanh, sigmoid) = (
            error(Tanh { a: 1.0, s: 1.0 }, f64::tanh),
            error(Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        );
        assert!(tanh < 3e-7 && sigmoid < 3e-7, "{tanh} {sigmoid}");
    }

    #[test]
    fn curves_end_where_they_should() {
        let threads = Threads::new(1);
        let mut y = [0.0; 4];
        let x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 200.0];
        tanh(&threads, 1.0, 1.0, &x, &mut y);
        assert!(y[0] == 1.0 && y[1] == -1.0 && y[2].is_nan() && y[3] == 1.0, "{y:?}");
        sigmoid(&threads, &x, &mut y);
        assert!(y[0] == 1.0 && y[1] < 1e-37 && y[2].is_nan() && y[3] == 1.0, "{y:?}");
        relu(&threads, &x, &mut y);
        assert!(y[0] == x[0] && y[1] == 0.0 && y[2].is_nan() && y[3] == 200.0, "{y:?}");
    }

    #[test]
    fn gradients_are_the_differences() {
        type Forward = fn(&Threads, &[f32], &mut [f32]);
        type Backward = fn(&Threads, &[f32], &[f32], &mut [f32]);
        type Exact = fn(f64) -> f64;
        let cases: [(Forward, Backward, Exact); 3] = [
            (relu, relu_backward, |x| x.max(0.0)),
            (
                |t, x, y| tanh(t, 1.7159, 2.0 / 3.0, x, y),
                |t, y, dy, dx| tanh_backward(t, 1.7159, 2.0 / 3.0, y, dy, dx),
                |x| 1.7159 * (2.0 / 3.0 * x).tanh(),
            ),
            (sigmoid, sigmoid_backward, |x| 1.0 / (1.0 + (-x).exp())),
        ];
        for (forward, backward, exact) in cases {
            for len in [1, 77] {
                let (x, dy) = (numbers(len, 1), numbers(len, 2));
                let y = on_any_threads(|threads| {
                    let mut y = vec![f32::NAN; len];
                    forward(threads, &x, &mut y);
                    y
                });
                let f = |x: &[f64]| x.iter().map(|&x| exact(x)).collect::<Vec<_>>();
                close(&y, &f(&wide(&x)), 1e-6);
                let mut dx = vec![f32::NAN; len];
                backward(&Threads::new(1), &y, &dy, &mut dx);
                close(&dx, &differences(&x, &dy, f), 1e-5);
            }
        }
    }

    #[test]
    fn long_arrays_are_shared_out() {
        let x = numbers(5 * HEAVY + 3, 1);
        let y = on_any_threads(|threads| {
            let mut y = vec![f32::NAN; x.len()];
            tanh(threads, 1.0, 1.0, &x, &mut y);
            y
        });
        close(&y, &x.iter().map(|&x| f64::from(x).tanh()).collect::<Vec<_>>(), 1e-6);
    }
}
