//! Places in a slice that are asked for again and again: pixels at equal distances, such as the values of a
//! tile at each point of a transform, and runs of so many values, such as what a tap reads. That they lie
//! within the slice is asked once, or with one comparison: to ask it of each value costs a transform a tenth
//! of its time.

use std::marker::PhantomData;
use std::ops::Index;

use super::layout::Pixel;

/// Some pixels of a slice, from the first on each `apart` behind the one before.
pub(crate) struct Spaced<'a> {
    first: *const Pixel,
    count: usize,
    apart: usize,
    pixels: PhantomData<&'a [Pixel]>,
}

/// The same, to be written.
pub(crate) struct SpacedMut<'a> {
    first: *mut Pixel,
    count: usize,
    apart: usize,
    pixels: PhantomData<&'a mut [Pixel]>,
}

/// Whether so many pixels at this distance lie within `len`.
#[inline(always)]
fn lie_within(len: usize, count: usize, apart: usize) -> bool {
    count == 0 || (count - 1).checked_mul(apart).is_some_and(|last| last < len)
}

impl<'a> Spaced<'a> {
    #[inline(always)]
    pub(crate) fn of(pixels: &'a [Pixel], count: usize, apart: usize) -> Spaced<'a> {
        assert!(lie_within(pixels.len(), count, apart), "within the slice");
        Spaced { first: pixels.as_ptr(), count, apart, pixels: PhantomData }
    }
}

impl<'a> SpacedMut<'a> {
    #[inline(always)]
    pub(crate) fn of(pixels: &'a mut [Pixel], count: usize, apart: usize) -> SpacedMut<'a> {
        assert!(lie_within(pixels.len(), count, apart), "within the slice");
        SpacedMut { first: pixels.as_mut_ptr(), count, apart, pixels: PhantomData }
    }

    /// The `i`-th of them.
    #[inline(always)]
    pub(crate) fn at(&mut self, i: usize) -> &mut Pixel {
        assert!(i < self.count, "one of the pixels");
        // SAFETY: as for `Spaced`, and `&mut self` lets one out at a time.
        unsafe { &mut *self.first.add(i * self.apart) }
    }
}

impl Index<usize> for Spaced<'_> {
    type Output = Pixel;

    #[inline(always)]
    fn index(&self, i: usize) -> &Pixel {
        assert!(i < self.count, "one of the pixels");
        // SAFETY: the slice is borrowed, and `of` has seen that the last of them is in it, and that to
        // count to there does not overflow.
        unsafe { &*self.first.add(i * self.apart) }
    }
}

/// The runs of `N` values of a slice.
pub(crate) struct Windows<'a, T, const N: usize> {
    first: *const T,
    /// Where the last begins.
    last: usize,
    values: PhantomData<&'a [T]>,
}

impl<'a, T, const N: usize> Windows<'a, T, N> {
    #[inline(always)]
    pub(crate) fn of(values: &'a [T]) -> Windows<'a, T, N> {
        assert!(N <= values.len(), "within the slice");
        let (first, last) = (values.as_ptr(), values.len() - N);
        Windows { first, last, values: PhantomData }
    }

    /// The run that begins at `i`.
    #[inline(always)]
    pub(crate) fn at(&self, i: usize) -> &'a [T; N] {
        assert!(i <= self.last, "within the slice");
        // SAFETY: the slice is borrowed, and holds `N` values from the `last` on, so from any before.
        unsafe { &*self.first.add(i).cast::<[T; N]>() }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn panics(job: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(job)).is_err()
    }

    #[test]
    fn every_third_pixel_of_seven() {
        let mut pixels = vec![Pixel::ZERO; 7];
        let mut spaced = SpacedMut::of(&mut pixels, 3, 3);
        for i in 0..3 {
            *spaced.at(i) = Pixel([i as f32 + 1.0; 16]);
        }
        assert!(panics(|| _ = spaced.at(3)));
        assert_eq!(pixels.iter().map(|p| p.0[5]).collect::<Vec<_>>(), [1., 0., 0., 2., 0., 0., 3.]);
        let spaced = Spaced::of(&pixels, 3, 3);
        assert_eq!([0, 1, 2].map(|i| spaced[i].0[0]), [1.0, 2.0, 3.0]);
        assert!(panics(|| _ = spaced[3]));
    }

    #[test]
    fn windows_end_with_their_slice() {
        let values = [10, 11, 12, 13, 14];
        let windows = Windows::<_, 3>::of(&values);
        assert_eq!([0, 2].map(|i| *windows.at(i)), [[10, 11, 12], [12, 13, 14]]);
        assert!(panics(|| _ = windows.at(3)) && panics(|| _ = windows.at(usize::MAX)));
        assert!(panics(|| _ = Windows::<_, 6>::of(&values)));
    }

    #[test]
    fn none_lies_beyond_the_slice() {
        let mut pixels = vec![Pixel::ZERO; 7];
        for (count, apart) in [(4, 3), (8, 1), (2, 7), (3, usize::MAX), (usize::MAX, 2)] {
            assert!(panics(|| _ = Spaced::of(&pixels, count, apart)), "{count} by {apart}");
            assert!(panics(|| _ = SpacedMut::of(&mut pixels, count, apart)), "{count} by {apart}");
        }
        assert!(panics(|| _ = Spaced::of(&[], 1, 0)));
        assert!(panics(|| _ = Spaced::of(&pixels, 0, 1)[0]));
    }
}
