//! The transforms of Winograd's algorithm along an axis, `Y = Aᵀ[(G g) ⊙ (Bᵀ d)]`, on the points 0,
//! ±p for each of some p, and ∞.
//!
//! Lavin, Gray 2016, "Fast algorithms for convolutional neural networks". With the products over the
//! other points' distances in `G`, the rows of `Bᵀ` are the coefficients of the polynomials that
//! vanish at all other points, and `Aᵀ` has the powers of the points. The two points of a pair share
//! the even and the odd part of both. An axis along which the kernel is one has a single point.

use super::simd::Simd;

/// The p of each pair of points.
///
/// On ±√½ and ±√2 six points lose no more than a binary digit against the definition; ±1 and ±2
/// would lose two. Eight and ten points lose two on these.
pub(crate) const fn pairs(points: usize) -> &'static [f64] {
    use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
    match points {
        1 => &[],
        4 => &[1.0],
        6 => &[FRAC_1_SQRT_2, SQRT_2],
        8 => &[0.5, 1.0, 2.0],
        10 => &[0.4, 0.8, 1.25, 2.5],
        _ => panic!("no such set of points"),
    }
}

/// The most pairs.
const MOST: usize = 4;

/// The coefficients, lowest first, of the product of `y − p²` over all pairs, or all but one.
const fn vanishing(points: usize, but: usize) -> [f64; MOST + 1] {
    let pairs = pairs(points);
    let mut product = [0.0; MOST + 1];
    product[0] = 1.0;
    let mut pair = 0;
    while pair < pairs.len() {
        if pair != but {
            let mut power = MOST;
            while power > 0 {
                product[power] = product[power - 1] - pairs[pair] * pairs[pair] * product[power];
                power -= 1;
            }
            product[0] *= -pairs[pair] * pairs[pair];
        }
        pair += 1;
    }
    product
}

/// [`vanishing`] for each pair that is left out, and for none.
const fn polynomials(points: usize) -> [[f64; MOST + 1]; MOST + 1] {
    let mut all = [[0.0; MOST + 1]; MOST + 1];
    let mut but = 0;
    while but <= MOST {
        all[but] = vanishing(points, if but == MOST { usize::MAX } else { but });
        but += 1;
    }
    all
}

/// The most outputs of a tile.
const OUTPUTS: usize = 6;

/// `p^0`, `p^1`, … of each pair.
const fn powers(points: usize) -> [[f64; OUTPUTS]; MOST] {
    let pairs = pairs(points);
    let mut powers = [[1.0; OUTPUTS]; MOST];
    let mut pair = 0;
    while pair < pairs.len() {
        let mut power = 1;
        while power < OUTPUTS {
            powers[pair][power] = powers[pair][power - 1] * pairs[pair];
            power += 1;
        }
        pair += 1;
    }
    powers
}

/// `sum + factor · x`, by the cheapest way; the factor is a constant where this is called.
#[inline(always)]
fn plus<S: Simd>(s: S, sum: S::V, factor: f64, x: S::V) -> S::V {
    if factor == 1.0 {
        s.add(sum, x)
    } else if factor == -1.0 {
        s.sub(sum, x)
    } else {
        s.mul_add(x, s.splat(factor as f32), sum)
    }
}

/// The sum of `d[first + 2 i]` times the `i`-th coefficient; the highest, of `degree`, is one.
#[inline(always)]
fn every_other<S: Simd, const A: usize>(
    s: S,
    d: &[S::V; A],
    polynomial: [f64; MOST + 1],
    degree: usize,
    first: usize,
) -> S::V {
    let mut sum = d[first + 2 * degree];
    for power in (0..degree).rev() {
        sum = plus(s, sum, polynomial[power], d[first + 2 * power]);
    }
    sum
}

/// `Bᵀ d`, on `A` points.
#[inline(always)]
pub(crate) fn input<S: Simd, const A: usize>(s: S, d: [S::V; A]) -> [S::V; A] {
    if A == 1 {
        return d;
    }
    let count = const { pairs(A).len() };
    let polynomials = const { polynomials(A) };
    let mut points = [s.zero(); A];
    points[0] = every_other(s, &d, polynomials[MOST], count, 0);
    for pair in 0..count {
        let p = const { pairs(A) }[pair];
        let even = every_other(s, &d, polynomials[pair], count - 1, 2);
        let odd = every_other(s, &d, polynomials[pair], count - 1, 1);
        points[2 * pair + 1] = plus(s, even, p, odd);
        points[2 * pair + 2] = plus(s, even, -p, odd);
    }
    points[A - 1] = every_other(s, &d, polynomials[MOST], count, 1);
    points
}

/// `Aᵀ m`, the `M` outputs of a tile.
#[inline(always)]
pub(crate) fn output<S: Simd, const A: usize, const M: usize>(s: S, m: [S::V; A]) -> [S::V; M] {
    let mut outputs = [m[0]; M];
    if A == 1 {
        return outputs;
    }
    let count = const { pairs(A).len() };
    let powers = const { powers(A) };
    let mut halves = [[s.zero(); MOST]; 2];
    for pair in 0..count {
        let [plus, minus] = [m[2 * pair + 1], m[2 * pair + 2]];
        halves[0][pair] = s.add(plus, minus);
        halves[1][pair] = s.sub(plus, minus);
    }
    for power in 0..M {
        let half = &halves[power % 2];
        let mut sum = match power {
            0 => plus(s, m[0], 1.0, half[0]),
            _ if power == M - 1 => plus(s, m[A - 1], powers[0][power], half[0]),
            _ => s.mul(half[0], s.splat(powers[0][power] as f32)),
        };
        for pair in 1..count {
            sum = plus(s, sum, powers[pair][power], half[pair]);
        }
        outputs[power] = sum;
    }
    outputs
}

/// `G`, a row for each point: for a point p the powers of p over the product of its distances from
/// the other finite points, for infinity the last power alone.
pub(crate) fn filter_matrix(points: usize, kernel: usize) -> Vec<Vec<f64>> {
    let finite: Vec<f64> =
        std::iter::once(0.0).chain(pairs(points).iter().flat_map(|p| [*p, -p])).collect();
    let row = |(at, p): (usize, &f64)| {
        let others = finite.iter().enumerate().filter(|(other, _)| *other != at);
        let distance: f64 = others.map(|(_, other)| p - other).product();
        (0..kernel).map(|power| p.powi(power as i32) / distance).collect()
    };
    let mut rows: Vec<Vec<f64>> = finite.iter().enumerate().map(row).collect();
    if points > 1 {
        rows.push((0..kernel).map(|power| f64::from(u8::from(power == kernel - 1))).collect());
    }
    rows
}
