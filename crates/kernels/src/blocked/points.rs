//! The transforms of Winograd's algorithm, `Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A`, on symmetric points.
//!
//! Lavin, Gray 2016, "Fast algorithms for convolutional neural networks"; the points of F(4,3) are 0,
//! ±√½, ±√2, ∞, which lose no more than a binary digit against the definition (0, ±1, ±2, ∞ lose
//! two). A pair of points shares its even and its odd part.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::simd::Simd;

/// One axis of F(M, A − M + 1): `A` points, the last of them infinity.
pub(crate) trait Points<const A: usize, const M: usize>: Copy + Send + Sync {
    /// `Bᵀ d`.
    fn input<S: Simd>(self, s: S, d: [S::V; A]) -> [S::V; A];
    /// `Aᵀ m`.
    fn output<S: Simd>(self, s: S, m: [S::V; A]) -> [S::V; M];
}

/// 0, ±1, ∞.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Four;

/// 0, ±√½, ±√2, ∞.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Six;

impl Points<4, 2> for Four {
    #[inline(always)]
    fn input<S: Simd>(self, s: S, d: [S::V; 4]) -> [S::V; 4] {
        [s.sub(d[2], d[0]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[3], d[1])]
    }

    #[inline(always)]
    fn output<S: Simd>(self, s: S, m: [S::V; 4]) -> [S::V; 2] {
        let (even, odd) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        [s.add(m[0], even), s.add(odd, m[3])]
    }
}

/// The points ±a and ±b; a²b² = 1 and a² + b² = 5/2.
const A1: f32 = FRAC_1_SQRT_2;
const B1: f32 = SQRT_2;
const A2: f32 = 0.5;
const B2: f32 = 2.0;

impl Six {
    #[inline(always)]
    fn transformed<S: Simd>(s: S, d: [S::V; 6]) -> [S::V; 6] {
        let [a, b, minus_a2, minus_b2] = [A1, B1, -A2, -B2].map(|c| s.splat(c));
        let [minus_a, minus_b, sum] = [-A1, -B1, -(A2 + B2)].map(|c| s.splat(c));
        let even_a = s.mul_add(d[2], minus_b2, d[4]);
        let odd_a = s.mul_add(d[1], minus_b2, d[3]);
        let even_b = s.mul_add(d[2], minus_a2, d[4]);
        let odd_b = s.mul_add(d[1], minus_a2, d[3]);
        [
            s.add(d[0], s.mul_add(d[2], sum, d[4])),
            s.mul_add(odd_a, a, even_a),
            s.mul_add(odd_a, minus_a, even_a),
            s.mul_add(odd_b, b, even_b),
            s.mul_add(odd_b, minus_b, even_b),
            s.add(d[1], s.mul_add(d[3], sum, d[5])),
        ]
    }
}

impl Points<6, 4> for Six {
    #[inline(always)]
    fn input<S: Simd>(self, s: S, d: [S::V; 6]) -> [S::V; 6] {
        Six::transformed(s, d)
    }

    #[inline(always)]
    fn output<S: Simd>(self, s: S, m: [S::V; 6]) -> [S::V; 4] {
        let [a, b, a2, b2] = [A1, B1, A2, B2].map(|c| s.splat(c));
        let [a3, b3] = [A1 * A2, B1 * B2].map(|c| s.splat(c));
        let (even_a, odd_a) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (even_b, odd_b) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [
            s.add(m[0], s.add(even_a, even_b)),
            s.mul_add(odd_a, a, s.mul(odd_b, b)),
            s.mul_add(even_a, a2, s.mul(even_b, b2)),
            s.mul_add(odd_a, a3, s.mul_add(odd_b, b3, m[5])),
        ]
    }
}

impl Points<6, 2> for Six {
    #[inline(always)]
    fn input<S: Simd>(self, s: S, d: [S::V; 6]) -> [S::V; 6] {
        Six::transformed(s, d)
    }

    #[inline(always)]
    fn output<S: Simd>(self, s: S, m: [S::V; 6]) -> [S::V; 2] {
        let [a, b] = [A1, B1].map(|c| s.splat(c));
        let (even_a, odd_a) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (even_b, odd_b) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [s.add(m[0], s.add(even_a, even_b)), s.mul_add(odd_a, a, s.mul_add(odd_b, b, m[5]))]
    }
}

/// `G`, a row for each point: for a point p the powers of p over the product of its distances from
/// the other finite points, for infinity the last power alone.
pub(crate) fn filter_matrix(points: usize, kernel: usize) -> Vec<Vec<f64>> {
    let root = 2f64.sqrt();
    let finite: &[f64] = match points {
        4 => &[0.0, 1.0, -1.0],
        _ => &[0.0, 1.0 / root, -1.0 / root, root, -root],
    };
    let row = |(at, p): (usize, &f64)| {
        let others = finite.iter().enumerate().filter(|(other, _)| *other != at);
        let distance: f64 = others.map(|(_, other)| p - other).product();
        (0..kernel).map(|power| p.powi(power as i32) / distance).collect()
    };
    let mut rows: Vec<Vec<f64>> = finite.iter().enumerate().map(row).collect();
    rows.push((0..kernel).map(|power| f64::from(u8::from(power == kernel - 1))).collect());
    rows
}
