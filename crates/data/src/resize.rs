use std::borrow::Cow;

use striate_graph::Filter;

use crate::DataError;
use crate::picture::{Colour, Picture, check_pixels};

/// The longest side of a resized picture, in pixels.
const MAX_RESIZED_SIDE: usize = 1 << 20;

/// Fraction bits of a weight: 8 bits of a byte, 2 for sums outside 0 to 255, 22 remain of 32.
const FRACTION: u32 = 22;

/// The picture brought to `size` (height, width), to the bit as Pillow's `Image.resize` does it:
/// the filter is widened by the scale factor when shrinking, weights are of fixed point, and the
/// two passes round to bytes between them, the horizontal one first. (So does Pillow up to 12, save
/// for strips 100 times as high as wide; Pillow 13 takes the vertical pass first for some sizes of
/// other proportions than the picture's.)
///
/// # Errors
/// [`DataError::TooLarge`] beyond [`MAX_PIXELS`](crate::MAX_PIXELS) or a side of 2²⁰,
/// [`DataError::Malformed`] for a side of 0.
pub fn resize(picture: &Picture, size: [usize; 2], filter: Filter) -> Result<Picture, DataError> {
    let [height, width] = size;
    if size.contains(&0) {
        return Err(DataError::Malformed {
            place: "a resized picture".to_owned(),
            found: format!("a size of {width}×{height} pixels"),
            expected: "at least one pixel".to_owned(),
        });
    }
    if height.max(width) > MAX_RESIZED_SIDE {
        return Err(DataError::TooLarge {
            place: "a resized picture".to_owned(),
            found: format!("a size of {width}×{height} pixels"),
            limit: format!("{MAX_RESIZED_SIDE} pixels a side: crop the picture first"),
        });
    }
    // What is between the passes has the old height and the new width.
    check_pixels("a resized picture", [picture.height(), width])?;
    check_pixels("a resized picture", size)?;

    let narrowed = if width == picture.width() {
        Cow::Borrowed(picture)
    } else {
        let windows = windows(picture.width(), width, filter);
        let bytes = match picture.colour() {
            Colour::Grey => horizontal::<1>(picture, &windows),
            Colour::Rgb => horizontal::<3>(picture, &windows),
        };
        Cow::Owned(Picture::new([picture.height(), width], picture.colour(), bytes)?)
    };
    if height == picture.height() {
        return Ok(narrowed.into_owned());
    }
    let bytes = vertical(&narrowed, &windows(picture.height(), height, filter));
    Picture::new(size, picture.colour(), bytes)
}

/// What one pixel of the result is the weighted sum of, along one axis.
struct Window {
    start: usize,
    /// Fixed point, together 1.
    weights: Vec<i32>,
}

fn windows(from: usize, to: usize, filter: Filter) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let widening = scale.max(1.0);
    let radius = widening * radius(filter);
    let window = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let start = (centre - radius + 0.5).max(0.0) as usize;
        let end = ((centre + radius + 0.5) as usize).min(from);
        let position = |pixel: usize| (pixel as f64 - centre + 0.5) * (1.0 / widening);
        let weights: Vec<f64> = (start..end).map(|i| weight(filter, position(i))).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| (weight / sum * f64::from(1 << FRACTION)).round() as i32;
        Window { start, weights: weights.into_iter().map(fixed).collect() }
    };
    (0..to).map(window).collect()
}

/// How far from its middle a filter is not 0, in pixels.
fn radius(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    }
}

fn weight(filter: Filter, x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    match filter {
        Filter::Bilinear => (1.0 - x).max(0.0),
        Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        Filter::Bicubic => 0.0,
    }
}

fn horizontal<const CHANNELS: usize>(picture: &Picture, windows: &[Window]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(picture.height() * windows.len() * CHANNELS);
    for y in 0..picture.height() {
        let row = picture.row(y).as_chunks::<CHANNELS>().0;
        for window in windows {
            let mut sums = [HALF; CHANNELS];
            for (pixel, weight) in row[window.start..].iter().zip(&window.weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(value);
                }
            }
            bytes.extend(sums.map(to_byte));
        }
    }
    bytes
}

fn vertical(picture: &Picture, windows: &[Window]) -> Vec<u8> {
    let mut sums = vec![HALF; picture.row(0).len()];
    let mut bytes = Vec::with_capacity(windows.len() * sums.len());
    for window in windows {
        sums.fill(HALF);
        for (y, weight) in (window.start..).zip(&window.weights) {
            for (sum, &value) in sums.iter_mut().zip(picture.row(y)) {
                *sum += weight * i32::from(value);
            }
        }
        bytes.extend(sums.iter().copied().map(to_byte));
    }
    bytes
}

/// Added to a sum so that cutting off its fraction rounds it.
const HALF: i32 = 1 << (FRACTION - 1);

fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    // Whether the values are Pillow's, `tests/golden.rs` says.

    #[test]
    fn the_same_size_is_the_same_picture() {
        let bytes = (0..60).map(|i| i * 4).collect();
        let picture = Picture::new([4, 5], Colour::Rgb, bytes).unwrap();
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            assert_eq!(resize(&picture, [4, 5], filter).unwrap(), picture);
        }
    }

    #[test]
    fn grey_is_resized_as_each_channel_is() {
        let bytes: Vec<u8> = (0..35u8).map(|i| i.wrapping_mul(37)).collect();
        let grey = Picture::new([7, 5], Colour::Grey, bytes.clone()).unwrap();
        let tripled = bytes.iter().flat_map(|&byte| [byte; 3]).collect();
        let rgb = Picture::new([7, 5], Colour::Rgb, tripled).unwrap();
        let [grey, rgb] = [grey, rgb].map(|p| resize(&p, [4, 9], Filter::Bicubic).unwrap());
        assert!(rgb.bytes().chunks(3).map(|pixel| pixel[0]).eq(grey.bytes().iter().copied()));
    }

    #[test]
    fn the_widest_swings_of_a_sum_fit() {
        let bytes: Vec<u8> = (0..2048).map(|i| if i % 3 == 0 { 255 } else { 0 }).collect();
        let picture = Picture::new([2, 1024], Colour::Grey, bytes).unwrap();
        for width in [1, 2, 700, 1023, 1025, 5000] {
            assert!(resize(&picture, [3, width], Filter::Bicubic).is_ok());
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let picture = Picture::new([1, 2], Colour::Grey, vec![1, 2]).unwrap();
        for size in [[1 << 19, 1 << 19], [1, 1 << 30], [0, 1], [usize::MAX, usize::MAX]] {
            assert!(resize(&picture, size, Filter::Bilinear).is_err(), "{size:?}");
        }
    }
}
