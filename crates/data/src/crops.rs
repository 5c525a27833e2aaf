use std::borrow::Cow;

use striate_graph::InputSpec;
use striate_tensor::Tensor;

use crate::DataError;
use crate::picture::Picture;
use crate::preprocess::{Preparation, middle, shorter};
use crate::resize::resize;

/// Which pieces of a picture the network sees; its answers (after the softmax) are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crops {
    /// The centre.
    #[default]
    One,
    /// Four corners and the centre of the resized picture, and their mirrors (AlexNet, VGG,
    /// ResNet).
    Ten,
    /// Shorter sides 256, 288, 320, 352; of each three squares (left, centre, right, or top,
    /// centre, bottom); of each square four corners, the centre, and the whole brought to the size
    /// of the crop; and their mirrors (GoogLeNet, §7). The four sides go with a crop of 224 and
    /// grow with it. [`InputSpec::resize`] is not used.
    Full144,
}

impl Crops {
    /// How many pieces.
    pub fn count(self) -> usize {
        match self {
            Crops::One => 1,
            Crops::Ten => 10,
            Crops::Full144 => 144,
        }
    }
}

/// The pieces of a picture as a batch `[n, C, H, W]`; each is prepared as
/// [`preprocess`](crate::preprocess) does. Of the tens the first five are top left, top right,
/// bottom left, bottom right, centre. Mirrors follow in the same order: in the second half.
///
/// # Errors
/// As [`preprocess`](crate::preprocess).
pub fn crops(picture: &Picture, spec: &InputSpec, crops: Crops) -> Result<Tensor, DataError> {
    let preparation = Preparation::new(spec)?;
    let picture = preparation.ground(Cow::Borrowed(picture));
    let [channels, height, width] = spec.output();
    let mut inputs = Tensor::zeros(&[crops.count(), channels, height, width]);
    let mut pieces = inputs.data_mut().chunks_exact_mut(channels * height * width);
    let mut write = |picture: &Picture, at| {
        if let Some(piece) = pieces.next() {
            preparation.write(picture, at, piece);
        }
    };
    match crops {
        Crops::One => {
            let sized = preparation.resize(picture)?;
            write(&sized, preparation.centre(&sized));
        }
        Crops::Ten => {
            let sized = preparation.resize(picture)?;
            five(&sized, spec.crop).into_iter().for_each(|at| write(&sized, at));
            mirror_first_half(&mut inputs, width);
        }
        Crops::Full144 => {
            for side in [256, 288, 320, 352] {
                let side = side * spec.crop[0].max(spec.crop[1]) / 224;
                let sized = resize(&picture, shorter(picture.size(), side.max(1)), spec.filter)?;
                for square in squares(&sized) {
                    five(&square, spec.crop).into_iter().for_each(|at| write(&square, at));
                    write(&resize(&square, spec.crop, spec.filter)?, [0, 0]);
                }
            }
            mirror_first_half(&mut inputs, width);
        }
    }
    Ok(inputs)
}

/// Where four corners and the centre begin.
fn five(picture: &Picture, crop: [usize; 2]) -> [[isize; 2]; 5] {
    let [height, width] = picture.size();
    let centre = [middle(height, crop[0]), middle(width, crop[1])];
    // Of a picture smaller than the crop all five are the centre.
    let near = centre.map(|start| start.min(0));
    let far = |side: usize, crop: usize, near: isize| (side as isize - crop as isize).max(near);
    let [bottom, right] = [far(height, crop[0], near[0]), far(width, crop[1], near[1])];
    let [top, left] = near;
    [[top, left], [top, right], [bottom, left], [bottom, right], centre]
}

/// Three squares: at one end, in the middle and at the other end of the longer side.
fn squares(picture: &Picture) -> [Picture; 3] {
    let [height, width] = picture.size();
    let side = height.min(width);
    let spare = [height - side, width - side];
    let middle = [height, width].map(|length| middle(length, side) as usize);
    [[0, 0], middle, spare].map(|at| picture.cut(at, [side, side]))
}

/// Fills the second half of a batch with the mirrors of the first.
fn mirror_first_half(inputs: &mut Tensor, width: usize) {
    let half = inputs.data().len() / 2;
    let (first, second) = inputs.data_mut().split_at_mut(half);
    for (from, to) in first.chunks_exact(width).zip(second.chunks_exact_mut(width)) {
        for (from, to) in from.iter().rev().zip(to) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Colour;
    use crate::preprocess;
    use striate_graph::{ChannelOrder, Resize};

    /// Row `r`, column `c` holds `10 r + c`.
    fn ramp(height: usize, width: usize) -> Picture {
        let value = |i| (10 * (i / width) + i % width) as u8;
        Picture::new([height, width], Colour::Grey, (0..height * width).map(value).collect())
            .unwrap()
    }

    fn spec(resize: Resize, crop: usize) -> InputSpec {
        InputSpec {
            resize,
            order: ChannelOrder::Grey,
            scale: 1.0,
            mean: vec![0.0],
            deviation: vec![1.0],
            ..InputSpec::imagenet(crop, crop)
        }
    }

    #[test]
    fn ten_are_corners_centre_and_mirrors() {
        let spec = spec(Resize::Exact([4, 6]), 2);
        let inputs = crops(&ramp(4, 6), &spec, Crops::Ten).unwrap();
        assert_eq!(inputs.shape(), [10, 1, 2, 2]);
        let firsts: Vec<f32> = inputs.rows().map(|row| row[0]).collect();
        assert_eq!(firsts, [0.0, 4.0, 20.0, 24.0, 12.0, 1.0, 5.0, 21.0, 25.0, 13.0]);
    }

    #[test]
    fn one_is_what_preprocess_gives() {
        let spec = spec(Resize::Shorter(5), 3);
        let picture = ramp(9, 7);
        let one = crops(&picture, &spec, Crops::One).unwrap();
        assert_eq!(one, preprocess(&picture, &spec).unwrap());
    }

    #[test]
    fn a_picture_smaller_than_the_crop_is_in_the_middle_of_all_ten() {
        let spec = spec(Resize::Exact([1, 1]), 3);
        let inputs = crops(&ramp(1, 1).inverted(), &spec, Crops::Ten).unwrap();
        for row in inputs.rows() {
            assert_eq!(row, [0.0, 0.0, 0.0, 0.0, 255.0, 0.0, 0.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn of_a_square_picture_the_three_squares_are_one() {
        let spec = spec(Resize::Shorter(256), 14);
        let inputs = crops(&ramp(12, 12), &spec, Crops::Full144).unwrap();
        assert_eq!(inputs.shape(), [144, 1, 14, 14]);
        let rows: Vec<&[f32]> = inputs.rows().collect();
        for scale in rows[..72].chunks(18) {
            assert_eq!(scale[..6], scale[6..12]);
            assert_eq!(scale[..6], scale[12..]);
        }
        // Shorter side 256 · 14 / 224 = 16: the whole square is a piece of its own.
        assert_ne!(rows[5], rows[4]);
        assert!(rows[0].iter().rev().take(14).rev().eq(rows[72].iter().rev().take(14)));
    }

    #[test]
    fn squares_lie_along_the_longer_side() {
        let firsts = |p: &Picture| squares(p).map(|square| square.bytes()[0]);
        assert_eq!(firsts(&ramp(2, 5)), [0, 2, 3]);
        assert_eq!(firsts(&ramp(6, 2)), [0, 20, 40]);
    }
}
