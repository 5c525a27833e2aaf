//! The transforms in one direction, for sets of points.
//!
//! Points come in pairs ±a beside 0 and ∞, so a pair of rows shares its even and its odd part.
//! Every transform is one sequence of operations, the same on all instruction sets.

use crate::blocked::simd::Simd;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// `F(M, R)` with `A = M + R − 1` points, one of which is ∞.
pub(in crate::blocked) trait Points<const A: usize, const M: usize>: Send + Sync + 'static {
    /// The points but ∞.
    const FINITE: &'static [f64];

    /// `Bᵀ·d`.
    fn input<S: Simd>(simd: S, d: [S::V; A]) -> [S::V; A];

    /// `Aᵀ·m`.
    fn output<S: Simd>(simd: S, m: [S::V; A]) -> [S::V; M];
}

/// `G` of a kernel of `R`: the row of a point `p` is `pⁱ / ∏(p − q)` over the other points `q`.
pub(super) fn kernel_matrix<const A: usize, const R: usize>(points: &[f64]) -> [[f64; R]; A] {
    let mut g = [[0.0; R]; A];
    for (row, (at, &p)) in g.iter_mut().zip(points.iter().enumerate()) {
        let others = points.iter().enumerate().filter(|&(other, _)| other != at);
        let product: f64 = others.map(|(_, q)| p - q).product();
        for (i, value) in row.iter_mut().enumerate() {
            *value = p.powi(i as i32) / product;
        }
    }
    g[A - 1][R - 1] = 1.0;
    g
}

/// 0, ±1, ∞.
pub(in crate::blocked) struct Four;

impl Points<4, 2> for Four {
    const FINITE: &'static [f64] = &[0.0, 1.0, -1.0];

    #[inline(always)]
    fn input<S: Simd>(simd: S, [d0, d1, d2, d3]: [S::V; 4]) -> [S::V; 4] {
        [simd.sub(d2, d0), simd.add(d2, d1), simd.sub(d2, d1), simd.sub(d3, d1)]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, [m0, m1, m2, m3]: [S::V; 4]) -> [S::V; 2] {
        [simd.add(m0, simd.add(m1, m2)), simd.add(simd.sub(m1, m2), m3)]
    }
}

/// 0, ±√½, ±√2, ∞: the points of the smallest error among six (see ncnn).
pub(in crate::blocked) struct Six;

impl Six {
    const A: f32 = FRAC_1_SQRT_2 as f32;
    const B: f32 = SQRT_2 as f32;
    const POINTS: &'static [f64] = &[0.0, FRAC_1_SQRT_2, -FRAC_1_SQRT_2, SQRT_2, -SQRT_2];

    /// `Bᵀ·d`, whatever the size of the kernel: a² = ½, b² = 2, a²b² = 1, a² + b² = 5/2.
    #[inline(always)]
    fn input<S: Simd>(s: S, [d0, d1, d2, d3, d4, d5]: [S::V; 6]) -> [S::V; 6] {
        let (a, b) = (s.splat(Six::A), s.splat(Six::B));
        let (minus_a, minus_b) = (s.splat(-Six::A), s.splat(-Six::B));
        let (minus_a2, minus_b2, sum) = (s.splat(-0.5), s.splat(-2.0), s.splat(-2.5));
        let (even_a, odd_a) = (s.mul_add(d2, minus_b2, d4), s.mul_add(d1, minus_b2, d3));
        let (even_b, odd_b) = (s.mul_add(d2, minus_a2, d4), s.mul_add(d1, minus_a2, d3));
        [
            s.add(d0, s.mul_add(d2, sum, d4)),
            s.mul_add(odd_a, a, even_a),
            s.mul_add(odd_a, minus_a, even_a),
            s.mul_add(odd_b, b, even_b),
            s.mul_add(odd_b, minus_b, even_b),
            s.add(d1, s.mul_add(d3, sum, d5)),
        ]
    }
}

impl Points<6, 4> for Six {
    const FINITE: &'static [f64] = Six::POINTS;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
        Six::input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, [m0, m1, m2, m3, m4, m5]: [S::V; 6]) -> [S::V; 4] {
        let (even_a, odd_a) = (s.add(m1, m2), s.sub(m1, m2));
        let (even_b, odd_b) = (s.add(m3, m4), s.sub(m3, m4));
        let (a, b) = (s.splat(Six::A), s.splat(Six::B));
        let (a2, b2) = (s.splat(0.5), s.splat(2.0));
        let (a3, b3) = (s.splat(0.5 * Six::A), s.splat(2.0 * Six::B));
        [
            s.add(m0, s.add(even_a, even_b)),
            s.mul_add(odd_a, a, s.mul(odd_b, b)),
            s.mul_add(even_a, a2, s.mul(even_b, b2)),
            s.mul_add(odd_a, a3, s.mul_add(odd_b, b3, m5)),
        ]
    }
}

impl Points<6, 2> for Six {
    const FINITE: &'static [f64] = Six::POINTS;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
        Six::input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, [m0, m1, m2, m3, m4, m5]: [S::V; 6]) -> [S::V; 2] {
        let (odd_a, odd_b) = (s.sub(m1, m2), s.sub(m3, m4));
        let (a, b) = (s.splat(Six::A), s.splat(Six::B));
        [
            s.add(m0, s.add(s.add(m1, m2), s.add(m3, m4))),
            s.mul_add(odd_a, a, s.mul_add(odd_b, b, m5)),
        ]
    }
}

/// 0, ±1, ±2, ±½, ∞.
pub(in crate::blocked) struct Eight;

impl Points<8, 6> for Eight {
    const FINITE: &'static [f64] = &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];

    #[inline(always)]
    fn input<S: Simd>(s: S, [d0, d1, d2, d3, d4, d5, d6, d7]: [S::V; 8]) -> [S::V; 8] {
        // The squares of the points are 1, 4, ¼: of each pair, minus the sum of the other two
        // and their product.
        let part = |low, middle, high, sum: f32, product: f32| {
            s.mul_add(low, s.splat(product), s.mul_add(middle, s.splat(-sum), high))
        };
        let (even_1, odd_1) = (part(d2, d4, d6, 4.25, 1.0), part(d1, d3, d5, 4.25, 1.0));
        let (even_2, odd_2) = (part(d2, d4, d6, 1.25, 0.25), part(d1, d3, d5, 1.25, 0.25));
        let (even_h, odd_h) = (part(d2, d4, d6, 5.0, 4.0), part(d1, d3, d5, 5.0, 4.0));
        let all = s.splat(5.25);
        let (two, half) = (s.splat(2.0), s.splat(0.5));
        [
            s.mul_add(s.sub(d2, d4), all, s.sub(d6, d0)),
            s.add(even_1, odd_1),
            s.sub(even_1, odd_1),
            s.mul_add(odd_2, two, even_2),
            s.mul_add(odd_2, s.splat(-2.0), even_2),
            s.mul_add(odd_h, half, even_h),
            s.mul_add(odd_h, s.splat(-0.5), even_h),
            s.mul_add(s.sub(d3, d5), all, s.sub(d7, d1)),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, [m0, m1, m2, m3, m4, m5, m6, m7]: [S::V; 8]) -> [S::V; 6] {
        let (even_1, odd_1) = (s.add(m1, m2), s.sub(m1, m2));
        let (even_2, odd_2) = (s.add(m3, m4), s.sub(m3, m4));
        let (even_h, odd_h) = (s.add(m5, m6), s.sub(m5, m6));
        let row = |one, two, half, power: i32| {
            let (p, q) = (s.splat(2_f32.powi(power)), s.splat(0.5_f32.powi(power)));
            s.mul_add(two, p, s.mul_add(half, q, one))
        };
        [
            s.add(s.add(m0, even_1), s.add(even_2, even_h)),
            row(odd_1, odd_2, odd_h, 1),
            row(even_1, even_2, even_h, 2),
            row(odd_1, odd_2, odd_h, 3),
            row(even_1, even_2, even_h, 4),
            s.add(row(odd_1, odd_2, odd_h, 5), m7),
        ]
    }
}
