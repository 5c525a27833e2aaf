use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use super::layout::Pixel;

/// From so many bytes on, memory is mapped for itself.
const MAPPED: usize = 1 << 20;
/// What a large page is aligned to.
const PAGE: usize = 2 << 20;

/// Pixels in one piece, zero at first; on large pages where the system has them, since the maps of
/// a network lie on more small ones than a processor keeps track of.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<Pixel>),
    /// The pixels begin at an offset in bytes.
    Mapped(MmapMut, usize),
}

impl Buffer {
    /// So many pixels, if there is so much memory.
    pub fn zeroed(len: usize) -> Option<Buffer> {
        let bytes = len.checked_mul(size_of::<Pixel>())?;
        if bytes < MAPPED {
            let mut pixels = Vec::new();
            pixels.try_reserve_exact(len).ok()?;
            pixels.resize(len, Pixel::ZERO);
            return Some(Buffer { memory: Memory::Heap(pixels), len });
        }
        let map = MmapMut::map_anon(bytes.checked_add(PAGE)?).ok()?;
        // Advice: where it is not taken, pages are small. Miri does not know it.
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = map.advise(memmap2::Advice::HugePage);
        let offset = map.as_ptr().align_offset(PAGE).min(PAGE);
        Some(Buffer { memory: Memory::Mapped(map, offset), len })
    }
}

impl Deref for Buffer {
    type Target = [Pixel];

    fn deref(&self) -> &[Pixel] {
        match &self.memory {
            Memory::Heap(pixels) => pixels,
            Memory::Mapped(map, offset) => {
                let bytes = &map[*offset..][..self.len * size_of::<Pixel>()];
                // SAFETY: the bytes are those of `len` pixels, which any bits are, and begin at a
                // page; the borrow is that of the map.
                unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), self.len) }
            }
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [Pixel] {
        match &mut self.memory {
            Memory::Heap(pixels) => pixels,
            Memory::Mapped(map, offset) => {
                let bytes = &mut map[*offset..][..self.len * size_of::<Pixel>()];
                // SAFETY: as above.
                unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), self.len) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_small_are_zero_aligned_and_writable() {
        // Miri takes its time.
        let step = if cfg!(miri) { 1024 } else { 1 };
        for len in [0, 1, 100, 1 << 14, (1 << 15) + 3] {
            let mut buffer = Buffer::zeroed(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().step_by(step).all(|pixel| *pixel == Pixel::ZERO));
            assert!(buffer.as_ptr().is_aligned());
            buffer.iter_mut().step_by(step).for_each(|pixel| *pixel = Pixel([1.0; 16]));
            assert!(buffer.iter().step_by(step).all(|pixel| pixel.0[15] == 1.0));
        }
        assert!(Buffer::zeroed(usize::MAX).is_none());
        assert!(Buffer::zeroed(usize::MAX / 128).is_none());
    }
}
