//! What the tests of the operations share.

use crate::threads::Threads;

/// Numbers in −1..1, the same for the same seed.
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(&mut next).skip(8).take(len).collect()
}

/// Runs `make` on 1, 2, 3 and 5 threads, demands the same bits from all, and gives them.
pub(crate) fn on_any_threads(make: impl Fn(&Threads) -> Vec<f32>) -> Vec<f32> {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let first = make(&Threads::new(1));
    for count in [2, 3, 5] {
        assert_eq!(bits(&first), bits(&make(&Threads::new(count))), "{count} threads");
    }
    first
}

/// Demands that `found` is `expected` but for `tolerance` times (1 + its size).
#[track_caller]
pub(crate) fn close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        let fine = error <= tolerance * (1.0 + expected.abs()) || f64::from(found) == expected;
        assert!(fine, "at {i}: {found} instead of {expected}");
    }
}

/// `⟨a, b⟩`.
pub(crate) fn inner(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// In f64.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// The gradient of `⟨f(x), dy⟩` at `x`, by central differences in f64.
pub(crate) fn differences(x: &[f32], dy: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let at = |i: usize, step: f64| {
        let mut x = wide(x);
        x[i] += step;
        f(&x).iter().zip(dy).map(|(y, &dy)| y * f64::from(dy)).sum::<f64>()
    };
    (0..x.len()).map(|i| (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP)).collect()
}
