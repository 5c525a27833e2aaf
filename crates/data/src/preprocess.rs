use std::borrow::Cow;

use striate_graph::{ChannelOrder, InputSpec, Resize};
use striate_tensor::Tensor;

use crate::DataError;
use crate::digit;
use crate::picture::{Colour, Picture};
use crate::resize::resize;

/// A picture as the input of a network: a tensor `[1, C, H, W]`, the steps as [`InputSpec`] has
/// them.
///
/// In detail, as torchvision: the longer side is `⌊size · long / short⌋`; the centre crop starts at
/// half the difference, a half rounded to even; a picture smaller than the crop gets background
/// (value 0) around it. Grey is Pillow's luma of the cropped bytes.
///
/// # Errors
/// [`DataError::Setting`] if the specification contradicts itself, [`DataError::TooLarge`] if the
/// resized picture would be (a strip of one pixel by thousands has an enormous longer side).
pub fn preprocess(picture: &Picture, spec: &InputSpec) -> Result<Tensor, DataError> {
    let preparation = Preparation::new(spec)?;
    let [channels, height, width] = spec.output();
    let mut input = Tensor::zeros(&[1, channels, height, width]);
    let sized = preparation.resize(preparation.ground(Cow::Borrowed(picture)))?;
    preparation.write(&sized, preparation.centre(&sized), input.data_mut());
    Ok(input)
}

/// An [`InputSpec`] that was checked, and what each byte becomes in each channel.
#[derive(Clone)]
pub(crate) struct Preparation {
    pub(crate) spec: InputSpec,
    tables: Vec<[f32; 256]>,
}

impl Preparation {
    pub(crate) fn new(spec: &InputSpec) -> Result<Preparation, DataError> {
        spec.check().map_err(|reason| DataError::Setting { setting: "input", reason })?;
        let normalise = |(&mean, &deviation): (&f32, &f32)| {
            std::array::from_fn(|byte| (byte as f32 * spec.scale - mean) / deviation)
        };
        let tables = spec.mean.iter().zip(&spec.deviation).map(normalise).collect();
        Ok(Preparation { spec: spec.clone(), tables })
    }

    /// The picture, inverted if the network wants a dark ground and this one is light.
    pub(crate) fn ground<'p>(&self, picture: Cow<'p, Picture>) -> Cow<'p, Picture> {
        if self.spec.dark_ground && is_light(&picture) {
            Cow::Owned(picture.inverted())
        } else {
            picture
        }
    }

    /// The picture in the size from which the crop is taken.
    pub(crate) fn resize<'p>(
        &self,
        picture: Cow<'p, Picture>,
    ) -> Result<Cow<'p, Picture>, DataError> {
        let size = match self.spec.resize {
            Resize::Shorter(side) => shorter(picture.size(), side),
            Resize::ShorterRounded(side) => shorter_rounded(picture.size(), side),
            Resize::Exact(size) => size,
        };
        if size == picture.size() {
            return Ok(picture);
        }
        if self.spec.dark_ground {
            return digit::centred(&picture, size).map(Cow::Owned);
        }
        resize(&picture, size, self.spec.filter).map(Cow::Owned)
    }

    /// Row and column at which the centre crop of a picture begins, negative where it is smaller.
    pub(crate) fn centre(&self, picture: &Picture) -> [isize; 2] {
        let [height, width] = picture.size();
        [middle(height, self.spec.crop[0]), middle(width, self.spec.crop[1])]
    }

    /// Writes the crop of a picture that begins at `at`, with its border, into the `C·H·W` values
    /// of one input. What lies outside the picture is background.
    pub(crate) fn write(&self, picture: &Picture, at: [isize; 2], input: &mut [f32]) {
        let [_, height, width] = self.spec.output();
        let border = self.spec.border;
        let rows = inside(at[0], self.spec.crop[0], picture.height());
        let columns = inside(at[1], self.spec.crop[1], picture.width());
        if rows.is_empty() || columns.is_empty() {
            // The crop lies wholly outside: background alone.
            for (plane, table) in input.chunks_exact_mut(height * width).zip(&self.tables) {
                plane.fill(table[0]);
            }
            return;
        }
        let pixels = picture.colour().channels();
        let start = (at[1] + columns.start as isize) as usize * pixels;
        let planes = input.chunks_exact_mut(height * width).zip(&self.tables);
        for (channel, (plane, table)) in planes.enumerate() {
            plane.fill(table[0]);
            for row in rows.clone() {
                let from = picture.row((at[0] + row as isize) as usize);
                let from = &from[start..][..columns.len() * pixels];
                let to = &mut plane[(border + row) * width + border + columns.start..];
                match (picture.colour(), self.spec.order) {
                    (Colour::Grey, ChannelOrder::Grey | ChannelOrder::Rgb | ChannelOrder::Bgr) => {
                        look_up(from, table, to, |&[grey]| grey);
                    }
                    (Colour::Rgb, ChannelOrder::Grey) => look_up(from, table, to, luma),
                    (Colour::Rgb, ChannelOrder::Rgb) => {
                        look_up(from, table, to, |rgb: &[u8; 3]| rgb[channel]);
                    }
                    (Colour::Rgb, ChannelOrder::Bgr) => {
                        look_up(from, table, to, |rgb: &[u8; 3]| rgb[2 - channel]);
                    }
                }
            }
        }
    }
}

fn look_up<const N: usize>(
    from: &[u8],
    table: &[f32; 256],
    to: &mut [f32],
    value: impl Fn(&[u8; N]) -> u8,
) {
    for (to, pixel) in to.iter_mut().zip(from.as_chunks().0) {
        *to = table[usize::from(value(pixel))];
    }
}

/// ITU-R 601-2 luma in Pillow's fixed point.
pub(crate) fn luma(&[red, green, blue]: &[u8; 3]) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u32::from);
    ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
}

/// The size (height, width) whose shorter side is `side`.
pub(crate) fn shorter(size: [usize; 2], side: usize) -> [usize; 2] {
    in_proportion(size, side, |long, short| long / short)
}

/// The same with the longer side rounded to the nearest pixel.
fn shorter_rounded(size: [usize; 2], side: usize) -> [usize; 2] {
    in_proportion(size, side, |long, short| (2 * long + short) / (2 * short))
}

fn in_proportion(
    [height, width]: [usize; 2],
    side: usize,
    divide: fn(u64, u64) -> u64,
) -> [usize; 2] {
    let long = |long: usize, short: usize| divide(side as u64 * long as u64, short as u64) as usize;
    if width <= height { [long(height, width), side] } else { [side, long(width, height)] }
}

/// Where a window of `crop` begins in the middle of `side`: half to even, but rounded down and
/// negative where the window is the larger.
pub(crate) fn middle(side: usize, crop: usize) -> isize {
    match side.checked_sub(crop) {
        Some(spare) => ((spare + spare / 2 % 2) / 2) as isize,
        None => -(((crop - side) / 2) as isize),
    }
}

/// Which part of a window of `crop` that begins at `start` lies inside `side`.
fn inside(start: isize, crop: usize, side: usize) -> std::ops::Range<usize> {
    let clamp = |position: isize| position.clamp(0, crop as isize) as usize;
    let (first, last) = (clamp(-start), clamp(side as isize - start));
    first..last.max(first)
}

/// Whether the outermost pixels are lighter than mid-grey on average.
fn is_light(picture: &Picture) -> bool {
    let channels = picture.colour().channels();
    let value = |pixel: &[u8]| match *pixel {
        [red, green, blue] => u64::from(luma(&[red, green, blue])),
        [grey, ..] => u64::from(grey),
        [] => 0,
    };
    let last = picture.height() - 1;
    let (mut sum, mut count) = (0, 0);
    for y in 0..picture.height() {
        let whole = y == 0 || y == last;
        let step = if whole { 1 } else { (picture.width() - 1).max(1) };
        for pixel in picture.row(y).chunks_exact(channels).step_by(step) {
            sum += value(pixel);
            count += 1;
        }
    }
    2 * sum > 255 * count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(size: [usize; 2], bytes: Vec<u8>) -> Picture {
        Picture::new(size, Colour::Grey, bytes).unwrap()
    }

    fn bytes_as_they_are(order: ChannelOrder, crop: [usize; 2]) -> InputSpec {
        let channels = order.channels();
        InputSpec {
            resize: Resize::Exact(crop),
            crop,
            order,
            scale: 1.0,
            mean: vec![0.0; channels],
            deviation: vec![1.0; channels],
            ..InputSpec::imagenet(1, 1)
        }
    }

    #[test]
    fn a_crop_outside_the_picture_is_background() {
        let spec = bytes_as_they_are(ChannelOrder::Grey, [2, 2]);
        let preparation = Preparation::new(&spec).unwrap();
        let picture = grey([2, 2], vec![9; 4]);
        for at in [[0, 2], [2, 0], [0, -2], [-2, 0], [5, -100], [-1000, 1000]] {
            let mut input = [7.0; 4];
            preparation.write(&picture, at, &mut input);
            assert_eq!(input, [0.0; 4], "{at:?}");
        }
    }

    #[test]
    fn sides_and_offsets_are_torchvisions() {
        // By torchvision's expressions: `int(size * long / short)`, `int(round(spare / 2.0))`.
        assert_eq!(shorter([375, 500], 256), [256, 341]);
        assert_eq!(shorter([500, 375], 256), [341, 256]);
        assert_eq!(shorter([7, 7], 256), [256, 256]);
        assert_eq!(shorter_rounded([300, 451], 256), [256, 385]);
        assert_eq!(shorter_rounded([640, 427], 256), [384, 256]);
        let cases = [(256, 224, 16), (341, 224, 58), (343, 224, 60), (224, 224, 0), (225, 224, 0)];
        for (side, crop, expected) in cases {
            assert_eq!(middle(side, crop), expected, "{side} {crop}");
        }
        assert_eq!([middle(20, 25), middle(20, 24)], [-2, -2]);
    }

    #[test]
    fn channels_come_in_their_order() {
        let picture = Picture::new([1, 2], Colour::Rgb, vec![10, 20, 30, 250, 130, 7]).unwrap();
        // The greys are Pillow's `Image.convert("L")`.
        let cases: [(ChannelOrder, &[f32]); 3] = [
            (ChannelOrder::Rgb, &[10.0, 250.0, 20.0, 130.0, 30.0, 7.0]),
            (ChannelOrder::Bgr, &[30.0, 7.0, 20.0, 130.0, 10.0, 250.0]),
            (ChannelOrder::Grey, &[18.0, 152.0]),
        ];
        for (order, expected) in cases {
            let spec = bytes_as_they_are(order, [1, 2]);
            assert_eq!(preprocess(&picture, &spec).unwrap().data(), expected, "{order:?}");
        }
        let spec = bytes_as_they_are(ChannelOrder::Rgb, [1, 1]);
        let tripled = preprocess(&grey([1, 1], vec![9]), &spec).unwrap();
        assert_eq!((tripled.shape(), tripled.data()), (&[1, 3, 1, 1][..], &[9.0; 3][..]));
    }

    #[test]
    fn what_is_outside_is_background() {
        let picture = grey([2, 3], vec![1, 2, 3, 4, 5, 6]);
        let spec = InputSpec {
            resize: Resize::Exact([2, 3]),
            border: 1,
            mean: vec![-1.0],
            deviation: vec![2.0],
            ..bytes_as_they_are(ChannelOrder::Grey, [3, 1])
        };
        let input = preprocess(&picture, &spec).unwrap();
        assert_eq!(input.shape(), [1, 1, 5, 3]);
        let [b, two, five] = [0.5, 1.5, 3.0];
        assert_eq!(input.data(), [b, b, b, b, two, b, b, five, b, b, b, b, b, b, b]);
    }

    #[test]
    fn light_ground_is_made_dark_and_dark_ground_left() {
        let ink_on_paper = grey([3, 3], vec![255, 255, 255, 255, 0, 255, 255, 255, 250]);
        let spec = InputSpec { dark_ground: true, ..bytes_as_they_are(ChannelOrder::Grey, [3, 3]) };
        let dark = [0.0, 0.0, 0.0, 0.0, 255.0, 0.0, 0.0, 0.0, 5.0];
        assert_eq!(preprocess(&ink_on_paper, &spec).unwrap().data(), dark);
        assert_eq!(preprocess(&ink_on_paper.inverted(), &spec).unwrap().data(), dark);
    }

    #[test]
    fn a_specification_that_contradicts_itself_is_refused() {
        let spec = InputSpec { mean: vec![0.0], ..InputSpec::imagenet(256, 224) };
        let error = preprocess(&grey([1, 1], vec![0]), &spec).unwrap_err();
        assert!(error.to_string().contains("3 channels"), "{error}");
    }

    #[test]
    fn a_strip_does_not_become_enormous() {
        let strip = grey([1, 32_768], vec![0; 32_768]);
        let error = preprocess(&strip, &InputSpec::imagenet(256, 224)).unwrap_err();
        assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
    }
}
