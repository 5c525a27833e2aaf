//! Sums and multiples of arrays of the same length.

use crate::threads::Threads;

/// Elements of a part of the work: a few µs of moving memory. Shorter arrays stay with the caller.
const PART: usize = 1 << 14;

/// `out = a + b`, then perhaps ReLU.
///
/// # Panics
/// If the lengths differ.
pub fn add(threads: &Threads, a: &[f32], b: &[f32], relu: bool, out: &mut [f32]) {
    match relu {
        true => zip(threads, PART, a, b, out, |a, b| rectified(a + b)),
        false => zip(threads, PART, a, b, out, |a, b| a + b),
    }
}

/// `out = a + factor · b`.
///
/// # Panics
/// If the lengths differ.
pub fn scaled_add(threads: &Threads, a: &[f32], factor: f32, b: &[f32], out: &mut [f32]) {
    zip(threads, PART, a, b, out, |a, b| a + factor * b);
}

/// `into += from`.
///
/// # Panics
/// If the lengths differ.
pub fn accumulate(threads: &Threads, from: &[f32], into: &mut [f32]) {
    assert_eq!(from.len(), into.len(), "lengths of from, into");
    threads.chunks(into, PART, |part, into| {
        let from = &from[part * PART..];
        into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
    });
}

/// `y = factor · x`.
///
/// # Panics
/// If the lengths differ.
pub fn scale(threads: &Threads, x: &[f32], factor: f32, y: &mut [f32]) {
    map(threads, PART, x, y, |x| factor * x);
}

/// `max(0, x)`; what is not a number stays so.
#[inline(always)]
pub(crate) fn rectified(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `y = f(x)`, `part` elements at a time.
pub(crate) fn map(
    threads: &Threads,
    part: usize,
    x: &[f32],
    y: &mut [f32],
    f: impl Fn(f32) -> f32 + Sync,
) {
    assert_eq!(x.len(), y.len(), "lengths of x, y");
    threads.chunks(y, part, |i, y| {
        y.iter_mut().zip(&x[i * part..]).for_each(|(y, &x)| *y = f(x));
    });
}

/// `out = f(a, b)`, `part` elements at a time.
pub(crate) fn zip(
    threads: &Threads,
    part: usize,
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Sync,
) {
    assert_eq!([a.len(), b.len()], [out.len(); 2], "lengths of a, b, out");
    threads.chunks(out, part, |i, out| {
        let (a, b) = (&a[i * part..], &b[i * part..]);
        out.iter_mut().zip(a).zip(b).for_each(|((out, &a), &b)| *out = f(a, b));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{numbers, on_any_threads};

    type Operation = fn(&Threads, &[f32], &[f32], &mut [f32]);
    type Exact = fn(f32, f32) -> f32;

    #[test]
    fn elements_are_what_they_should_be() {
        let cases: [(Operation, Exact); 5] = [
            (|t, a, b, out| add(t, a, b, false, out), |a, b| a + b),
            (|t, a, b, out| add(t, a, b, true, out), |a, b| (a + b).max(0.0)),
            (|t, a, b, out| scaled_add(t, a, 0.25, b, out), |a, b| a + 0.25 * b),
            (|t, a, _, out| scale(t, a, -3.0, out), |a, _| -3.0 * a),
            (
                |t, a, b, out| {
                    out.copy_from_slice(a);
                    accumulate(t, b, out);
                },
                |a, b| a + b,
            ),
        ];
        for len in [0, 1, 1000, 3 * PART + 5] {
            let (a, b) = (numbers(len, 1), numbers(len, 2));
            for (operation, expected) in cases {
                let out = on_any_threads(|threads| {
                    let mut out = vec![f32::NAN; len];
                    operation(threads, &a, &b, &mut out);
                    out
                });
                assert!(out.iter().zip(&a).zip(&b).all(|((&out, &a), &b)| out == expected(a, b)));
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let mut out = [0.0];
        add(&Threads::new(1), &[f32::NAN], &[1.0], true, &mut out);
        assert!(out[0].is_nan());
    }
}
