//! Digits of any size and place brought to the form of MNIST's.

use striate_graph::Filter;

use crate::DataError;
use crate::picture::{Colour, Picture};
use crate::preprocess::luma;
use crate::resize::resize;

/// Ink fills so much of a side: MNIST's digits fill 20 of 28 pixels.
const FILL: (usize, usize) = (20, 28);

/// Less difference than this between ink and ground is noise on an empty sheet.
const LEAST_CONTRAST: f32 = 16.0;

/// A light digit on a dark ground, as MNIST's were made (LeCun et al. 1998, §III.A): ground and ink
/// stretched to black and white, cut to the ink, scaled in proportion to fill a square of 20 in 28
/// pixels, and moved so that its centre of mass is that of `size` (height, width).
///
/// # Errors
/// [`DataError`] if the picture cannot be resized.
pub(crate) fn centred(picture: &Picture, size: [usize; 2]) -> Result<Picture, DataError> {
    let Some(sheet) = stretched(picture) else { return resize(picture, size, Filter::Bilinear) };
    let rows = span((0..sheet.height()).map(|y| sheet.row(y).iter().any(|&v| v > 127)));
    let columns =
        span((0..sheet.width()).map(|x| (0..sheet.height()).any(|y| sheet.row(y)[x] > 127)));
    let ink = sheet.cut([rows.0, columns.0], [rows.1 - rows.0, columns.1 - columns.0]);

    let room = size.map(|side| (side * FILL.0 / FILL.1).max(1));
    let scale = |i: usize| room[i] as f64 / ink.size()[i] as f64;
    let scale = scale(0).min(scale(1));
    let fits = |i: usize| ((ink.size()[i] as f64 * scale).round() as usize).clamp(1, room[i]);
    let small = resize(&ink, [fits(0), fits(1)], Filter::Bilinear)?;
    // A thin stroke of a large picture has become faint.
    let small = stretched(&small).unwrap_or(small);

    let mass = centre_of_mass(&small);
    let mut bytes = vec![0; size[0] * size[1]];
    let at = |i: usize| {
        // The middle of the pixel after the middle of the picture, as found in MNIST.
        let start = (size[i] as f64 / 2.0 + 0.5 - mass[i]).round().max(0.0) as usize;
        start.min(size[i] - small.size()[i])
    };
    let (top, left) = (at(0), at(1));
    for y in 0..small.height() {
        bytes[(top + y) * size[1] + left..][..small.width()].copy_from_slice(small.row(y));
    }
    Picture::new(size, Colour::Grey, bytes)
}

/// In grey, with the mean of the ground made black and the mean of the ink white; nothing if there
/// is no ink. What is ink, Otsu's threshold says (1979, "A threshold selection method from
/// gray-level histograms").
fn stretched(picture: &Picture) -> Option<Picture> {
    let greys: Vec<u8> = match picture.colour() {
        Colour::Grey => picture.bytes().to_vec(),
        Colour::Rgb => picture.bytes().as_chunks().0.iter().map(luma).collect(),
    };
    let mut histogram = [0_u64; 256];
    greys.iter().for_each(|&grey| histogram[usize::from(grey)] += 1);
    let moment = |range: std::ops::Range<usize>| {
        range.fold((0, 0), |(n, sum), grey| {
            (n + histogram[grey], sum + histogram[grey] * grey as u64)
        })
    };
    let means = |threshold| {
        let [(n, ground), (m, ink)] = [moment(0..threshold), moment(threshold..256)];
        let (n, m) = (n as f64, m as f64);
        let between = (ink as f64 / m - ground as f64 / n).powi(2) * n * m;
        (n > 0.0 && m > 0.0).then(|| (between, ground as f64 / n, ink as f64 / m))
    };
    let best = (1..256).filter_map(means).max_by(|a, b| a.0.total_cmp(&b.0));
    let (_, ground, ink) = best?;
    let (ground, contrast) = (ground as f32, (ink - ground) as f32);
    if contrast < LEAST_CONTRAST {
        return None;
    }
    let stretch = |&grey: &u8| ((f32::from(grey) - ground) / contrast * 255.0).round() as u8;
    Picture::new(picture.size(), Colour::Grey, greys.iter().map(stretch).collect()).ok()
}

/// From the first to after the last that is true; one of them is.
fn span(marks: impl Iterator<Item = bool>) -> (usize, usize) {
    let marked: Vec<usize> = marks.enumerate().filter(|(_, ink)| *ink).map(|(i, _)| i).collect();
    (marked[0], marked[marked.len() - 1] + 1)
}

/// Row and column of the centre of the ink, in pixels from the upper left corner.
fn centre_of_mass(picture: &Picture) -> [f64; 2] {
    let (mut mass, mut down, mut right) = (0.0, 0.0, 0.0);
    for y in 0..picture.height() {
        for (x, &value) in picture.row(y).iter().enumerate() {
            let value = f64::from(value);
            mass += value;
            down += value * (y as f64 + 0.5);
            right += value * (x as f64 + 0.5);
        }
    }
    [down / mass, right / mass]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dataset, Mnist};

    /// A digit drawn large and dark, somewhere on a grey sheet.
    fn on_paper(digit: &Picture, [top, left]: [usize; 2]) -> Picture {
        let large = resize(digit, [140, 140], Filter::Bilinear).unwrap();
        let mut bytes = vec![210; 300 * 400 * 3];
        for y in 0..140 {
            for (x, &ink) in large.row(y).iter().enumerate() {
                bytes[((top + y) * 400 + left + x) * 3..][..3].fill(210 - (ink / 2));
            }
        }
        Picture::new([300, 400], Colour::Rgb, bytes).unwrap()
    }

    #[test]
    fn a_digit_on_paper_becomes_the_digit_it_was() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/mnist");
        let digits = Mnist::open(path.as_ref()).unwrap().test();
        for index in 0..40 {
            let digit = digits.sample(index).unwrap().picture;
            let paper = on_paper(&digit, [index, 200 - 3 * index]);
            let found = centred(&paper.inverted(), [28, 28]).unwrap();
            for centre in centre_of_mass(&found) {
                assert!((centre - 14.5).abs() <= 0.5, "digit {index}: {centre}");
            }
            // The mass of a digit between two pixels may fall on either.
            let shifts = (-1..=1).flat_map(|y| (-1..=1).map(move |x| y * 28 + x));
            let alike = shifts.map(|by| likeness(&found, &digit, by)).fold(0.0, f64::max);
            assert!(alike > 0.85, "digit {index}: {alike}");
        }
    }

    /// Cosine of the angle between two digits, one of them moved by so many bytes.
    fn likeness(a: &Picture, b: &Picture, by: isize) -> f64 {
        let product = |a: &[u8], b: &[u8]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let (a, b) = (a.bytes(), b.bytes());
        let moved = [&a[by.max(0) as usize..], &b[(-by).max(0) as usize..]];
        product(moved[0], moved[1]) / (product(a, a) * product(b, b)).sqrt()
    }

    #[test]
    fn an_empty_sheet_and_a_dot_are_no_trouble() {
        let sheet = |bytes: Vec<u8>| Picture::new([20, 50], Colour::Grey, bytes).unwrap();
        let blank = centred(&sheet(vec![7; 1000]), [28, 28]).unwrap();
        assert_eq!((blank.size(), blank.bytes()), ([28, 28], &[7; 784][..]));
        let mut dot = vec![3; 1000];
        dot[999] = 250;
        let dot = centred(&sheet(dot), [28, 28]).unwrap();
        assert_eq!(span((0..28).map(|y| dot.row(y).contains(&255))), (5, 25));
        assert_eq!(centred(&sheet(vec![0; 1000]), [1, 1]).unwrap().size(), [1, 1]);
    }
}
