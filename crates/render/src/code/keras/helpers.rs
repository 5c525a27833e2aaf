//! What a program in Keras has besides its network, as it stands there.

/// Functions that the code needs if it calls them.
pub(super) const HELPERS: [(&str, &str); 10] = [
    ("conv", CONV),
    ("batch_norm", BATCH_NORM),
    ("max_pool", MAX_POOL),
    ("avg_pool", AVG_POOL),
    ("adaptive_avg_pool", ADAPTIVE_AVG_POOL),
    ("lrn", LRN),
    ("shrink", SHRINK),
    ("scaled_tanh", SCALED_TANH),
    ("Subsample", SUBSAMPLE),
    ("Rbf", RBF),
];

const CONV: &str = r#"

def conv(
    x, outputs, kernel, name, stride=1, padding=0, dilation=1, groups=1, bias=True
):
    """Convolution, with zeros on all sides of the map."""
    if padding:
        x = layers.ZeroPadding2D(padding)(x)
@DEPTHWISE@    layer = layers.Conv2D(
        outputs,
        kernel,
        strides=stride,
        dilation_rate=dilation,
        groups=groups,
        use_bias=bias,
        name=name,
    )
    return layer(x)
"#;

/// Of another stride for each axis TensorFlow has none.
pub(super) const DEPTHWISE: &str = r#"    if 1 < groups == x.shape[-1] and isinstance(stride, int):
        layer = layers.DepthwiseConv2D(
            kernel,
            strides=stride,
            depth_multiplier=outputs // groups,
            dilation_rate=dilation,
            use_bias=bias,
            name=name,
        )
        return layer(x)
"#;

const BATCH_NORM: &str = r#"

def batch_norm(x, name, epsilon=1e-5, momentum=0.9, scale=True):
    """Batch normalisation."""
    layer = layers.BatchNormalization(
        momentum=momentum, epsilon=epsilon, scale=scale, name=name
    )
    return layer(x)
"#;

pub(super) const EDGES: &str = r#"

def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def edges(x, kernel, stride, padding=0, ceil=False):
    """What a pooling adds before and behind each axis; with `ceil` for a last window."""
    added = [(0, 0)]
    axes = zip(x.shape[1:3], pair(kernel), pair(stride), pair(padding))
    for size, window, step, sides in axes:
        before, after = pair(sides)
        if ceil:
            last = -(-(size + before + after - window) // step) * step
            if last >= size + before:
                last -= step
            after = max(after, last + window - size - before)
        added.append((before, after))
    return added + [(0, 0)]
"#;

const MAX_POOL: &str = r#"

def max_pool(x, kernel, stride, padding=0, ceil=False):
    """The largest value of each window; padding never is."""
    around = edges(x, kernel, stride, padding, ceil)
    x = ops.pad(x, around, constant_values=float("-inf"))
    return layers.MaxPooling2D(kernel, stride)(x)
"#;

const AVG_POOL: &str = r#"

def avg_pool(x, kernel, stride, padding=0, ceil=False, count_padding=True):
    """The mean of each window over the map, and over its padding if that counts."""
    around = edges(x, kernel, stride, padding, ceil)
    counted = edges(x, kernel, stride, padding if count_padding else 0)
    mask = np.ones((1, *x.shape[1:3], 1), "float32")
    mask = np.pad(mask, counted, constant_values=1)
    mask = np.pad(mask, np.maximum(np.subtract(around, counted), 0))
    share = ops.average_pool(mask, kernel, stride)
    return ops.average_pool(ops.pad(x, around), kernel, stride) / share
"#;

const ADAPTIVE_AVG_POOL: &str = r#"

def adaptive_avg_pool(x, size):
    """Means of as many windows along each axis as `size` says."""
    for axis, count in zip((1, 2), size):
        length = x.shape[axis]
        means = []
        for i in range(count):
            window = range(i * length // count, -(-(i + 1) * length // count))
            window = ops.take(x, list(window), axis=axis)
            means.append(ops.mean(window, axis=axis, keepdims=True))
        x = ops.concatenate(means, axis=axis)
    return x
"#;

const LRN: &str = r#"

def lrn(x, size, alpha, beta, k):
    """Local response normalisation over `size` neighbouring maps."""
    channels = x.shape[-1]
    around = [(0, 0), (0, 0), (0, 0), (size // 2, (size - 1) // 2)]
    squares = ops.pad(ops.square(x), around)
    total = sum(squares[..., i : i + channels] for i in range(size))
    return x / ops.power(k + alpha * total, beta)
"#;

const SHRINK: &str = r#"

def shrink(x, stride, outputs):
    """Every `stride`-th pixel, and zero maps behind the others."""
    x = x[:, ::stride, ::stride, :]
    return ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, outputs - x.shape[-1])])
"#;

const SCALED_TANH: &str = r#"

def scaled_tanh(x, a, s):
    """a · tanh(s · x)."""
    return layers.Rescaling(a)(ops.tanh(layers.Rescaling(s)(x)))
"#;

const SUBSAMPLE: &str = r#"

class Subsample(layers.Layer):
    """The sum of each window, times a coefficient, plus a bias: a pair a map."""

    def __init__(self, kernel, stride, **kwargs):
        super().__init__(**kwargs)
        self.kernel = kernel
        self.stride = stride

    def build(self, shape):
        maps = shape[-1:]
        self.weight = self.add_weight(shape=maps, initializer="ones", name="weight")
        self.bias = self.add_weight(shape=maps, initializer="zeros", name="bias")

    def call(self, x):
        height, width = pair(self.kernel)
        means = ops.average_pool(x, self.kernel, self.stride)
        return means * (height * width) * self.weight + self.bias
"#;

const RBF: &str = r##"

class Rbf(layers.Layer):
    """Squared distances to the codes of the classes: the smallest wins."""

    def __init__(self, codes, **kwargs):
        super().__init__(**kwargs)
        values = [[1.0 if value == "#" else -1.0 for value in code] for code in codes]
        self.codes = np.array(values, "float32")

    def build(self, shape):
        self.weight = self.add_weight(
            shape=self.codes.shape,
            initializer=lambda shape, dtype: ops.cast(self.codes, dtype),
            trainable=False,
            name="weight",
        )

    def call(self, x):
        return ops.sum(ops.square(x[:, None] - self.weight), axis=2)
"##;

/// The weights of rows, which have the channels last here.
pub(super) const TURN: &str = r#"        if layer.name in FLATTENED and (kind, leaf) != ("Dense", "bias"):
            maps = value.reshape(-1, *FLATTENED[layer.name])
            value = np.moveaxis(maps, 1, -1).reshape(value.shape)
"#;

pub(super) const LEAF: &str = r#"    "DepthwiseConv2D": {"weight": "kernel"},
"#;

/// What is made of each channel follows it.
pub(super) const KERNEL: &str = r#"        if kind == "DepthwiseConv2D" and leaf == "weight":
            value = value.transpose(2, 3, 1, 0).reshape(layer.kernel.shape)
"#;

pub(super) const LOAD: &str = r#"

# What Keras calls the weights of its layers.
LEAVES = {
    "Conv2D": {"weight": "kernel"},
@LEAF@    "Dense": {"weight": "kernel"},
    "BatchNormalization": {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    },
}
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def load_weights(model, path):
    """Fills the model from a safetensors file, by the names of its layers."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        values = file.read()
    header.pop("__metadata__", None)
    missing = {weight.path for weight in model.weights}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        if tensor["dtype"] == "BF16":
            # The upper half of a float.
            upper = np.frombuffer(values[begin:end], "<u2").astype("<u4")
            value = (upper << 16).view("<f4")
        else:
            value = np.frombuffer(values[begin:end], DTYPES[tensor["dtype"]])
        value = value.reshape(tensor["shape"])
        layer, leaf = @KEY@.rsplit(".", 1)
        layer = model.get_layer(layer)
        kind = type(layer).__name__
@TURN@        if kind == "Conv2D" and leaf == "weight":
            value = value.transpose(2, 3, 1, 0)
@KERNEL@        if kind == "Dense" and leaf == "weight":
            value = value.transpose()
        weight = getattr(layer, LEAVES.get(kind, {}).get(leaf, leaf))
        weight.assign(value)
        missing.discard(weight.path)
    if missing:
        raise ValueError(f"{path} has no values for {sorted(missing)}")
    return model
"#;
