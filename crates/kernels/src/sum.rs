//! Long sums in f64, by lanes that are added in a fixed order.

const LANES: usize = 8;

/// `Σ term(aᵢ)`.
pub(crate) fn sum(a: &[f32], term: impl Fn(f32) -> f64) -> f64 {
    sum_pairs(a, a, |a, _| term(a))
}

/// `Σ term(aᵢ, bᵢ)`.
pub(crate) fn sum_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f64) -> f64 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for l in 0..LANES {
            lanes[l] += term(a[l], b[l]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a, b));
    lanes.into_iter().chain(rest).sum()
}
