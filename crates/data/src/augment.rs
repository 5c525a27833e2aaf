use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use striate_tensor::Rng;

use crate::DataError;
use crate::picture::Picture;

/// Random changes to the pictures of a training set, other ones in every epoch. The default is
/// none.
///
/// In order: [`resized_crop`](Augment::resized_crop) if set, else the resizing of the `InputSpec`;
/// [`affine`](Augment::affine); [`flip`](Augment::flip); then the centre crop of the `InputSpec`,
/// moved by [`shift`](Augment::shift).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// A random piece of the picture brought to the size of the crop.
    pub resized_crop: Option<ResizedCrop>,
    /// Small random rotation, scaling and shearing.
    pub affine: Option<Affine>,
    /// Left and right exchanged in one half of the pictures.
    pub flip: bool,
    /// The crop is moved by up to this many pixels, each way and each number as likely; what it
    /// meets outside the picture is background. If the picture has the size of the crop, this is
    /// padding and a random crop (CIFAR); if it is larger, a random crop (AlexNet: 256 and 227, so
    /// 14).
    pub shift: usize,
}

/// A random piece by its share of the area and its shape (GoogLeNet, §6; torchvision's
/// `RandomResizedCrop`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizedCrop {
    /// Least and greatest share of the picture's area, uniform between.
    pub area: [f32; 2],
    /// Least and greatest width over height, uniform between in their logarithms.
    pub ratio: [f32; 2],
}

/// Random linear distortion about the centre, every number uniform between its negative and
/// itself. Values between pixels are bilinear, outside is background (value 0).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    /// Rotation, in degrees.
    pub degrees: f32,
    /// Enlargement: 0.1 is from 0.9 to 1.1 times.
    pub scale: f32,
    /// Slant of vertical lines, in degrees.
    pub shear: f32,
}

impl Augment {
    /// Pictures as they are.
    pub fn none() -> Augment {
        Augment::default()
    }

    /// For handwritten digits: small affine distortions and a shift by up to 2 pixels.
    pub fn digits() -> Augment {
        let affine = Affine { degrees: 10.0, scale: 0.1, shear: 10.0 };
        Augment { affine: Some(affine), shift: 2, ..Augment::none() }
    }

    /// For CIFAR: padded by 4, a random crop, flips (He et al. 2015, §4.2).
    pub fn cifar() -> Augment {
        Augment { flip: true, shift: 4, ..Augment::none() }
    }

    /// For ImageNet: from 8 % to all of the area in a shape from 3:4 to 4:3, and flips, as
    /// torchvision trains.
    pub fn imagenet() -> Augment {
        let crop = ResizedCrop { area: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] };
        Augment { resized_crop: Some(crop), flip: true, ..Augment::none() }
    }

    /// Says what is wrong with the values, if anything.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a range that is empty, backwards or not finite, an area outside
    /// (0, 1], a ratio that is not positive, a scale from 1, angles from 90 degrees, a shift beyond
    /// 16,384 pixels.
    pub fn check(&self) -> Result<(), DataError> {
        let wrong = |reason: String| Err(DataError::Setting { setting: "augment", reason });
        if let Some(ResizedCrop { area, ratio }) = self.resized_crop {
            let range = |[low, high]: [f32; 2]| low > 0.0 && low <= high && high.is_finite();
            if !range(area) || area[1] > 1.0 || !range(ratio) {
                return wrong(format!("area {area:?} and ratio {ratio:?} must be positive ranges"));
            }
        }
        if let Some(Affine { degrees, scale, shear }) = self.affine {
            let angle = |angle: f32| (0.0..90.0).contains(&angle);
            if !angle(degrees) || !angle(shear) || !(0.0..1.0).contains(&scale) {
                return wrong(format!(
                    "degrees {degrees} and shear {shear} must be below 90, scale {scale} below 1"
                ));
            }
        }
        if self.shift > 16_384 {
            return wrong(format!("a shift of {} pixels is more than 16384", self.shift));
        }
        Ok(())
    }

    /// Distorts and flips a picture that has its size.
    pub(crate) fn apply<'p>(&self, picture: Cow<'p, Picture>, rng: &mut Rng) -> Cow<'p, Picture> {
        let picture = match &self.affine {
            Some(affine) => Cow::Owned(affine.apply(&picture, rng)),
            None => picture,
        };
        if self.flip && rng.chance(0.5) { Cow::Owned(picture.mirrored()) } else { picture }
    }

    /// Where a crop begins that is moved from `at`.
    pub(crate) fn moved(&self, at: [isize; 2], rng: &mut Rng) -> [isize; 2] {
        if self.shift == 0 {
            return at;
        }
        at.map(|start| start + rng.below(2 * self.shift + 1) as isize - self.shift as isize)
    }
}

impl ResizedCrop {
    /// A random piece. After ten that do not fit, as much of the middle as `ratio` allows.
    pub(crate) fn cut(&self, picture: &Picture, rng: &mut Rng) -> Picture {
        let size = picture.size();
        let [height, width] = size.map(|side| side as f32);
        let [least, most] = self.ratio;
        for _ in 0..10 {
            let area = height * width * rng.within(self.area[0], self.area[1]);
            let ratio = rng.within(least.ln(), most.ln()).exp();
            let piece = [(area / ratio).sqrt(), (area * ratio).sqrt()];
            let piece = piece.map(|side| side.round_ties_even() as usize);
            if (1..=size[0]).contains(&piece[0]) && (1..=size[1]).contains(&piece[1]) {
                let at = [0, 1].map(|axis| rng.below(size[axis] - piece[axis] + 1));
                return picture.cut(at, piece);
            }
        }
        let ratio = (width / height).clamp(least, most);
        let piece = [(width / ratio).min(height), (height * ratio).min(width)];
        let piece = piece.map(|side| (side.round_ties_even() as usize).max(1));
        picture.cut([0, 1].map(|axis| (size[axis] - piece[axis]) / 2), piece)
    }
}

impl Affine {
    fn apply(&self, picture: &Picture, rng: &mut Rng) -> Picture {
        let mut draw = |range: f32| rng.within(-range, range);
        let angle = draw(self.degrees).to_radians();
        let scale = 1.0 + draw(self.scale);
        let slant = draw(self.shear).to_radians().tan();
        let (sin, cos) = angle.sin_cos();
        // Rotation · shear · scale, inverted: from a pixel of the result to where it comes from.
        let [[a, b], [c, d]] = [
            [(cos + slant * sin) / scale, (sin - slant * cos) / scale],
            [-sin / scale, cos / scale],
        ];
        let [middle_y, middle_x] = picture.size().map(|side| (side - 1) as f32 / 2.0);
        let mut bytes = Vec::with_capacity(picture.bytes().len());
        for y in 0..picture.height() {
            for x in 0..picture.width() {
                let (from_x, from_y) = (x as f32 - middle_x, y as f32 - middle_y);
                let at = [middle_y + c * from_x + d * from_y, middle_x + a * from_x + b * from_y];
                let channels = 0..picture.colour().channels();
                bytes.extend(channels.map(|channel| bilinear(picture, at, channel)));
            }
        }
        picture.with_bytes(bytes)
    }
}

/// One channel between pixels, 0 outside.
fn bilinear(picture: &Picture, [y, x]: [f32; 2], channel: usize) -> u8 {
    let [height, width] = picture.size();
    // Counted from a row and a column of background before the first, so that nothing is negative.
    let [y, x] = [y + 1.0, x + 1.0];
    if !(0.0..(height + 1) as f32).contains(&y) || !(0.0..(width + 1) as f32).contains(&x) {
        return 0;
    }
    let [top, left] = [y as usize, x as usize];
    let [down, right] = [y - top as f32, x - left as f32];
    let pixel = |row: usize, column: usize| {
        if !(1..=height).contains(&row) || !(1..=width).contains(&column) {
            return 0.0;
        }
        let at = (row - 1) * width + column - 1;
        f32::from(picture.bytes()[at * picture.colour().channels() + channel])
    };
    let upper = pixel(top, left) * (1.0 - right) + pixel(top, left + 1) * right;
    let lower = pixel(top + 1, left) * (1.0 - right) + pixel(top + 1, left + 1) * right;
    (upper * (1.0 - down) + lower * down + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Colour;

    /// Light in the middle of a dark 9×9 square.
    fn dot() -> Picture {
        let bytes = (0..81).map(|i| if i == 40 { 200 } else { 0 }).collect();
        Picture::new([9, 9], Colour::Grey, bytes).unwrap()
    }

    #[test]
    fn a_distortion_of_nothing_changes_nothing() {
        let bytes = (0..105).map(|i| i * 2).collect();
        let picture = Picture::new([5, 7], Colour::Rgb, bytes).unwrap();
        let still = Affine { degrees: 0.0, scale: 0.0, shear: 0.0 };
        assert_eq!(still.apply(&picture, &mut Rng::new(1)), picture);
    }

    #[test]
    fn distortions_turn_about_the_centre() {
        let affine = Affine { degrees: 30.0, scale: 0.2, shear: 20.0 };
        for seed in 0..50 {
            assert_eq!(affine.apply(&dot(), &mut Rng::new(seed)).bytes()[40], 200);
        }
    }

    #[test]
    fn a_rotation_moves_a_corner_by_the_drawn_angle() {
        let mut bytes = vec![0; 81];
        bytes[4] = 255;
        let top = Picture::new([9, 9], Colour::Grey, bytes).unwrap();
        let affine = Affine { degrees: 89.0, scale: 0.0, shear: 0.0 };
        for seed in 0..20 {
            let angle = Rng::new(seed).within(-89.0, 89.0).to_radians();
            let turned = affine.apply(&top, &mut Rng::new(seed));
            let weight: f32 = turned.bytes().iter().map(|&b| f32::from(b)).sum();
            let mean = |axis: fn(usize) -> usize| {
                let part = |(i, &b): (usize, &u8)| axis(i) as f32 * f32::from(b);
                turned.bytes().iter().enumerate().map(part).sum::<f32>() / weight - 4.0
            };
            let (x, y) = (mean(|i| i % 9), mean(|i| i / 9));
            assert!((x - 4.0 * angle.sin()).abs() < 0.5, "{seed}: {x}");
            assert!((y + 4.0 * angle.cos()).abs() < 0.5, "{seed}: {y}");
        }
    }

    #[test]
    fn pieces_have_the_area_and_shape_asked_for() {
        let picture = Picture::new([300, 400], Colour::Grey, vec![0; 120_000]).unwrap();
        let crop = ResizedCrop { area: [0.2, 0.5], ratio: [0.75, 1.5] };
        let mut sizes = std::collections::HashSet::new();
        for seed in 0..100 {
            let piece = crop.cut(&picture, &mut Rng::new(seed));
            let [height, width] = piece.size().map(|side| side as f32);
            assert!((0.19..0.51).contains(&(height * width / 120_000.0)), "{height}×{width}");
            assert!((0.74..1.52).contains(&(width / height)), "{height}×{width}");
            sizes.insert(piece.size());
        }
        assert!(sizes.len() > 90);
    }

    #[test]
    fn where_no_piece_fits_the_middle_is_taken() {
        let bytes = (0..100).collect();
        let strip = Picture::new([1, 100], Colour::Grey, bytes).unwrap();
        let crop = ResizedCrop { area: [1.0, 1.0], ratio: [2.0, 4.0] };
        assert_eq!(crop.cut(&strip, &mut Rng::new(1)).bytes(), [48, 49, 50, 51]);
    }

    #[test]
    fn a_shift_reaches_both_ends() {
        let augment = Augment { shift: 2, ..Augment::none() };
        let mut rng = Rng::new(1);
        let rows: std::collections::BTreeSet<isize> =
            (0..100).map(|_| augment.moved([10, 0], &mut rng)[0]).collect();
        assert!(rows.into_iter().eq(8..=12));
    }

    #[test]
    fn absurd_values_are_refused() {
        let crop = |area, ratio| Augment {
            resized_crop: Some(ResizedCrop { area, ratio }),
            ..Augment::none()
        };
        let affine = |degrees, scale, shear| Augment {
            affine: Some(Affine { degrees, scale, shear }),
            ..Augment::none()
        };
        let good = [Augment::none(), Augment::digits(), Augment::cifar(), Augment::imagenet()];
        assert!(good.iter().all(|augment| augment.check().is_ok()));
        let bad = [
            crop([0.0, 1.0], [1.0, 1.0]),
            crop([0.5, 0.4], [1.0, 1.0]),
            crop([0.5, 1.5], [1.0, 1.0]),
            crop([0.5, 1.0], [1.0, f32::INFINITY]),
            affine(f32::NAN, 0.0, 0.0),
            affine(0.0, 1.0, 0.0),
            affine(0.0, 0.0, 90.0),
            Augment { shift: 1 << 20, ..Augment::none() },
        ];
        assert!(bad.iter().all(|augment| augment.check().is_err()));
    }

    #[test]
    fn it_can_be_stored() {
        let augment = Augment::imagenet();
        let text = serde_json::to_string(&augment).unwrap();
        assert_eq!(serde_json::from_str::<Augment>(&text).unwrap(), augment);
        assert_eq!(serde_json::from_str::<Augment>("{}").unwrap(), Augment::none());
        assert!(serde_json::from_str::<Augment>(r#"{"flop": true}"#).is_err());
    }
}
