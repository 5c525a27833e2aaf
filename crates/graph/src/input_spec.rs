use serde::{Deserialize, Serialize};

/// How a picture becomes the input of a network. It belongs to a set of *weights*, not to the
/// network: the same VGG-16 wants BGR bytes with Caffe's weights and normalised RGB with
/// torchvision's. It is stored with the weights and used wherever they are.
///
/// The steps, in order: [`resize`](Self::resize) with [`filter`](Self::filter), centre
/// [`crop`](Self::crop), zero [`border`](Self::border) around it, channels in
/// [`order`](Self::order), and for each channel `(value · scale − mean) / deviation` with values
/// from 0 to 255. The border is of the background, value 0, before the mean is taken off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Size after resizing.
    pub resize: Resize,
    /// What is between two pixels.
    #[serde(default)]
    pub filter: Filter,
    /// Height and width cut from the middle after resizing.
    pub crop: [usize; 2],
    /// Background pixels added on each of the four sides after cropping (28×28 digits in 32×32).
    #[serde(default)]
    pub border: usize,
    /// Which channels, and in which order.
    pub order: ChannelOrder,
    /// What a byte is multiplied by: 1 keeps 0 to 255, 1/255 gives 0 to 1.
    pub scale: f32,
    /// Subtracted, one value a channel in the order of `order`, in units after `scale`.
    pub mean: Vec<f32>,
    /// Divided by, one value a channel in the order of `order`, in units after `scale`.
    pub deviation: Vec<f32>,
    /// The network expects light ink on a dark ground, as in MNIST: a picture whose rim is lighter
    /// than mid-grey is inverted first. One of another size than `resize` is brought to it as
    /// MNIST's digits were: contrast stretched, cut to the ink, that scaled to fill 20 of 28 pixels
    /// and centred by its mass.
    #[serde(default)]
    pub dark_ground: bool,
}

/// The size a picture is brought to before cropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The shorter side to this length, the longer in proportion, truncated (torchvision).
    Shorter(usize),
    /// The same with the longer side rounded to the nearest pixel.
    ShorterRounded(usize),
    /// Exactly this height and width, whatever the proportions (Caffe's AlexNet, Keras).
    Exact([usize; 2]),
}

/// Interpolation, widened by the scale factor when shrinking (Pillow's antialiased resize).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Triangle.
    #[default]
    Bilinear,
    /// Keys' cubic with a = −½.
    Bicubic,
}

/// The channels of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red (Caffe).
    Bgr,
    /// One channel: ITU-R 601-2 luma.
    Grey,
}

impl ChannelOrder {
    /// 3, or 1 for grey.
    pub fn channels(self) -> usize {
        match self {
            ChannelOrder::Rgb | ChannelOrder::Bgr => 3,
            ChannelOrder::Grey => 1,
        }
    }
}

impl InputSpec {
    /// torchvision's: the shorter side to `resize`, centre crop, RGB with ImageNet's mean and
    /// deviation.
    pub fn imagenet(resize: usize, crop: usize) -> InputSpec {
        InputSpec {
            resize: Resize::Shorter(resize),
            filter: Filter::Bilinear,
            crop: [crop, crop],
            border: 0,
            order: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: vec![0.485, 0.456, 0.406],
            deviation: vec![0.229, 0.224, 0.225],
            dark_ground: false,
        }
    }

    /// Caffe's: BGR from 0 to 255 less a mean.
    pub fn caffe(resize: Resize, crop: usize, mean: [f32; 3]) -> InputSpec {
        InputSpec {
            resize,
            order: ChannelOrder::Bgr,
            scale: 1.0,
            mean: mean.to_vec(),
            deviation: vec![1.0; 3],
            ..InputSpec::imagenet(crop, crop)
        }
    }

    /// MNIST's digits of 28×28, light on dark, with `border` background pixels around them.
    pub fn digits(border: usize, mean: f32, deviation: f32) -> InputSpec {
        InputSpec {
            resize: Resize::Exact([28, 28]),
            filter: Filter::Bilinear,
            crop: [28, 28],
            border,
            order: ChannelOrder::Grey,
            scale: 1.0 / 255.0,
            mean: vec![mean],
            deviation: vec![deviation],
            dark_ground: true,
        }
    }

    /// Channels, height and width of what comes out.
    pub fn output(&self) -> [usize; 3] {
        [self.order.channels(), self.crop[0] + 2 * self.border, self.crop[1] + 2 * self.border]
    }

    /// Says what is wrong with the values, if anything: `mean` and `deviation` of another length
    /// than there are channels, a deviation that is not positive, an empty or absurd size, a byte
    /// that becomes infinite.
    pub fn check(&self) -> Result<(), String> {
        let channels = self.order.channels();
        let sizes = match self.resize {
            Resize::Shorter(side) | Resize::ShorterRounded(side) => [side, side],
            Resize::Exact(sides) => sides,
        };
        let fits = |side: usize| (1..=16_384).contains(&side);
        if self.mean.len() != channels || self.deviation.len() != channels {
            return Err(format!(
                "{channels} channels need {channels} means and deviations, found {} and {}",
                self.mean.len(),
                self.deviation.len()
            ));
        }
        if !self.deviation.iter().all(|d| d.is_finite() && *d > 0.0) {
            return Err(format!("deviations {:?} must be positive", self.deviation));
        }
        if !self.mean.iter().all(|m| m.is_finite()) || !self.scale.is_finite() {
            return Err(format!("mean {:?} and scale {} must be finite", self.mean, self.scale));
        }
        for (mean, deviation) in self.mean.iter().zip(&self.deviation) {
            let reach = [0.0, 255.0].map(|byte| (byte * self.scale - mean) / deviation);
            if !reach.iter().all(|value| value.is_finite()) {
                return Err(format!(
                    "scale {}, mean {mean} and deviation {deviation} make bytes from {} to {}, \
                     expected finite values",
                    self.scale, reach[0], reach[1]
                ));
            }
        }
        if !sizes.into_iter().chain(self.crop).all(fits) || self.border > 16_384 {
            return Err(format!("sizes {sizes:?}, {:?} must be from 1 to 16384", self.crop));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_meaning_are_told() {
        let good = InputSpec::imagenet(256, 224);
        assert_eq!(good.check(), Ok(()));
        let cases = [
            (InputSpec { mean: vec![0.0], ..good.clone() }, "3 channels need 3 means"),
            (InputSpec { deviation: vec![0.0; 3], ..good.clone() }, "must be positive"),
            (InputSpec { mean: vec![f32::NAN; 3], ..good.clone() }, "must be finite"),
            (InputSpec { scale: 1e38, ..good.clone() }, "expected finite values"),
            (InputSpec { deviation: vec![1e-45; 3], ..good.clone() }, "expected finite values"),
            (InputSpec { crop: [0, 224], ..good.clone() }, "from 1 to 16384"),
            (InputSpec { resize: Resize::Shorter(1 << 20), ..good.clone() }, "from 1 to 16384"),
            (InputSpec { border: 1 << 20, ..good }, "from 1 to 16384"),
        ];
        for (spec, expected) in cases {
            let found = spec.check().unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
    }
}
