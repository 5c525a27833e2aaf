//! Concatenation along the channels, and its gradient: of every sample, a stretch of values goes
//! into, or comes out of, a longer row.

use crate::threads::Threads;

/// Copies `from`, `batch` rows, into the wider rows of `into`, from `offset` on. A row of either is
/// channels × area, `offset` the channels before × area.
///
/// # Panics
/// If the rows do not fit.
pub fn write(threads: &Threads, batch: usize, offset: usize, from: &[f32], into: &mut [f32]) {
    let (width, part) = widths(batch, offset, into.len(), from.len());
    threads.chunks(into, width.max(1), |sample, row| {
        row[offset..][..part].copy_from_slice(&from[sample * part..][..part]);
    });
}

/// Copies out of the wider rows of `from`, from `offset` on, to fill `into`, `batch` rows.
///
/// # Panics
/// If the rows do not fit.
pub fn read(threads: &Threads, batch: usize, offset: usize, from: &[f32], into: &mut [f32]) {
    let (width, part) = widths(batch, offset, from.len(), into.len());
    threads.chunks(into, part.max(1), |sample, row| {
        row.copy_from_slice(&from[sample * width + offset..][..part]);
    });
}

/// Lengths of a wide and of a narrow row.
fn widths(batch: usize, offset: usize, wide: usize, narrow: usize) -> (usize, usize) {
    let rows = batch.max(1);
    assert!(wide.is_multiple_of(rows) && narrow.is_multiple_of(rows), "whole rows");
    let (wide, narrow) = (wide / rows, narrow / rows);
    assert!(offset + narrow <= wide, "the stretch lies within the row");
    (wide, narrow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{numbers, on_any_threads};

    #[test]
    fn parts_make_a_whole_and_come_out_again() {
        let (batch, parts) = (3, [2, 5, 1]);
        let sources: Vec<_> =
            parts.iter().zip(1..).map(|(part, seed)| numbers(batch * part, seed)).collect();
        let offsets = [0, 2, 7];
        let whole = on_any_threads(|threads| {
            let mut whole = vec![f32::NAN; batch * 8];
            for (offset, source) in offsets.into_iter().zip(&sources) {
                write(threads, batch, offset, source, &mut whole);
            }
            whole
        });
        assert_eq!(whole[8..10], sources[0][2..4]);
        assert_eq!(whole[10..15], sources[1][5..10]);
        assert_eq!(whole[15], sources[2][1]);
        for (offset, source) in offsets.into_iter().zip(&sources) {
            let part = on_any_threads(|threads| {
                let mut part = vec![f32::NAN; source.len()];
                read(threads, batch, offset, &whole, &mut part);
                part
            });
            assert_eq!(part, *source);
        }
        write(&Threads::new(2), 0, 0, &[], &mut []);
    }

    #[test]
    #[should_panic(expected = "within the row")]
    fn too_wide_a_part_is_refused() {
        write(&Threads::new(1), 2, 3, &[0.0; 4], &mut [0.0; 8]);
    }
}
