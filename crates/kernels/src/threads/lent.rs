use std::marker::PhantomData;

/// A slice on loan to several threads, each taking its own part of it.
pub(super) struct Lent<'a, T> {
    start: *mut T,
    len: usize,
    lent: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]` of which each thread takes another part; see `slice`.
unsafe impl<T: Send> Sync for Lent<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Lent<'_, T> {}

impl<'a, T> Lent<'a, T> {
    pub(super) fn new(slice: &'a mut [T]) -> Lent<'a, T> {
        Lent { start: slice.as_mut_ptr(), len: slice.len(), lent: PhantomData }
    }

    /// The same loan, for whoever carries a part of it about.
    pub(super) fn again(&self) -> Lent<'_, T> {
        Lent { start: self.start, len: self.len, lent: PhantomData }
    }

    /// `len` values from `at` on.
    ///
    /// # Safety
    /// No two slices that live at the same time may overlap.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the point of a loan")]
    pub(super) unsafe fn slice(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at <= self.len && len <= self.len - at, "within the loan");
        // SAFETY: in bounds by the line above, borrowed for the life of the loan, and not
        // overlapping by the promise of the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}
