//! What Burn does not have, written out where a network needs it.

/// By the word that calls for it.
pub(super) const HELPERS: [(&str, &str); 5] = [
    ("around", AROUND),
    ("Shrink", SHRINK),
    ("Subsample", SUBSAMPLE),
    ("Rbf", RBF),
    ("unscaled", UNSCALED),
];

const AROUND: &str = r#"
/// The same padding on opposite sides.
fn around([height, width]: [usize; 2]) -> PaddingConfig2d {
    PaddingConfig2d::Explicit(height, width, height, width)
}
"#;

const SHRINK: &str = r#"
/// Every `stride`-th pixel, and zero maps behind the others.
#[derive(Module, Debug)]
pub struct Shrink {
    stride: usize,
    outputs: usize,
}

impl Shrink {
    pub fn new(stride: usize, outputs: usize) -> Self {
        Self { stride, outputs }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let step = self.stride as isize;
        let x = x.slice(s![.., .., ..;step, ..;step]);
        let missing = self.outputs - x.dims()[1];
        x.pad([(0, missing), (0, 0), (0, 0)], PadMode::Constant(0.0))
    }
}
"#;

const SUBSAMPLE: &str = r#"
/// The sum of each window, times a coefficient, plus a bias: a pair a map.
#[derive(Module, Debug)]
pub struct Subsample {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    mean: AvgPool2d,
}

impl Subsample {
    pub fn new(channels: usize, kernel: [usize; 2], stride: [usize; 2], device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
            mean: AvgPool2dConfig::new(kernel).with_strides(stride).init(),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [height, width] = self.mean.kernel_size;
        let sums = self.mean.forward(x) * (height * width) as f32;
        let [weight, bias] = [&self.weight, &self.bias].map(|row| row.val().reshape([1, -1, 1, 1]));
        sums * weight + bias
    }
}
"#;

const RBF: &str = r#"
/// Squared distances to the codes of the classes: the smallest wins.
#[derive(Module, Debug)]
pub struct Rbf {
    weight: Param<Tensor<2>>,
}

impl Rbf {
    pub fn new(codes: &[&str], device: &Device) -> Self {
        let value = |code: u8| if code == b'#' { 1.0 } else { -1.0 };
        let values = codes.iter().flat_map(|code| code.bytes().map(value));
        let values: Vec<f32> = values.collect();
        let shape = [codes.len(), values.len() / codes.len()];
        let weight = Tensor::from_data(TensorData::new(values, shape), device);
        Self {
            weight: Param::from_tensor(weight).set_require_grad(false),
        }
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let apart = x.unsqueeze_dim::<3>(1) - self.weight.val().unsqueeze_dim(0);
        apart.square().sum_dim(2).squeeze_dim(2)
    }
}
"#;

const UNSCALED: &str = r#"
/// A normalisation without a scale, which is one.
fn unscaled(norm: BatchNorm) -> BatchNorm {
    BatchNorm {
        gamma: norm.gamma.set_require_grad(false),
        ..norm
    }
}
"#;

/// `@NORM@` is its normalisation.
pub(super) const CONV_BN: &str = r#"
/// Convolution, then batch normalisation.
#[derive(Module, Debug)]
pub struct ConvBn {
    conv: Conv2d,
    bn: BatchNorm,
}

impl ConvBn {
    pub fn new(config: Conv2dConfig, device: &Device) -> Self {
        let [_, outputs] = config.channels;
        Self {
            conv: config.init(device),
@NORM@
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.bn.forward(self.conv.forward(x))
    }
}
"#;

/// The end of `load_weights` where normalisations have no scale.
pub(super) const LOAD_UNSCALED: &str = r#"let result = model.load_from(&mut store)?;
// Scales that are one are not in the file.
let mut missing = result.missing.iter().map(|(name, _)| name);
match missing.find(|name| !name.ends_with(".gamma")) {
    Some(name) => Err(SafetensorsStoreError::TensorNotFound(name.clone())),
    None => Ok(result),
}"#;
