//! What a program in PyTorch has besides its network, as it stands there.

pub(super) const CONV_BN: &str = r#"

class ConvBn(nn.Conv2d):
    """Convolution, then batch normalisation."""

    def __init__(self, *args, **kwargs):
"#;

pub(super) const SUBSAMPLE: &str = r#"

class Subsample(nn.Module):
    """The sum of each window, times a coefficient, plus a bias: a pair a map."""

    def __init__(self, channels, kernel, stride):
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        x = F.avg_pool2d(x, self.kernel, self.stride, divisor_override=1)
        return x * self.weight[:, None, None] + self.bias[:, None, None]
"#;

pub(super) const RBF: &str = r##"

class Rbf(nn.Module):
    """Squared distances to the codes of the classes: the smallest wins."""

    def __init__(self, codes):
        super().__init__()
        values = [[1.0 if value == "#" else -1.0 for value in code] for code in codes]
        self.register_buffer("weight", torch.tensor(values))

    def forward(self, x):
        return (x[:, None] - self.weight).square().sum(2)
"##;

pub(super) const MEAN_INSIDE: &str = r#"

def mean_inside(x, kernel, stride, padding):
    """The mean of each window over the pixels that are no padding."""
    inside = F.pad(torch.ones_like(x[:1, :1]), padding)
    inside = F.avg_pool2d(inside, kernel, stride)
    return F.avg_pool2d(F.pad(x, padding), kernel, stride) / inside
"#;

pub(super) const UNSCALED: &str = r#"

def unscaled(norm):
    """A normalisation without a scale."""
    norm.register_parameter("weight", None)
    return norm
"#;

pub(super) const LOAD: &str = r#"

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def load_weights(model, path):
    """Fills the model from a safetensors file, by the names of its layers."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        values = file.read()
    header.pop("__metadata__", None)
    state = {}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        data, dtype = bytearray(values[begin:end]), DTYPES[tensor["dtype"]]
        flat = torch.frombuffer(data, dtype=dtype)
        state[@KEY@] = flat.reshape(tensor["shape"])
    # Counters of batches are PyTorch's own.
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, value)
    model.load_state_dict(state)
    return model
"#;
