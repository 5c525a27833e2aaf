"""Makes the files beside it: a small network as Caffe saves it, in both spellings, and its tensors.

pip install numpy safetensors && python make.py

The bytes are put together by hand, as protobuf's wire format has them, with the field numbers of Caffe's
`caffe.proto`: no package brings these messages.
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

here = pathlib.Path(__file__).parent
random = np.random.default_rng(1)


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def real(field, x):
    return varint(field << 3 | 5) + np.float32(x).tobytes()


def inside(field, *parts):
    body = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def shape(*dims):
    return inside(7, inside(1, *(varint(dim) for dim in dims)))


def legacy(values):
    dims = [1] * (4 - values.ndim) + list(values.shape)
    return inside(6, *(number(i, dim) for i, dim in enumerate(dims, 1)), inside(5, values.tobytes()))


def blob(values, how="packed"):
    packed = {
        "packed": lambda: inside(5, values.tobytes()),
        # With the gradients of training, which no one needs.
        "diff": lambda: inside(6, (values * 0).tobytes()) + inside(5, values.tobytes()),
        "single": lambda: b"".join(real(5, value) for value in values.ravel()),
        "pieces": lambda: inside(5, values.ravel()[:2].tobytes()) + inside(5, values.ravel()[2:].tobytes()),
        "double": lambda: inside(8, values.astype(np.float64).tobytes()),
    }
    return inside(7, shape(*values.shape), packed[how]())


def normal(*dims):
    return random.standard_normal(dims).astype(np.float32)


conv, conv_bias, fc, fc_bias = normal(2, 3, 2, 2), normal(2), normal(3, 8), normal(3)
mean, variance, factor = normal(2), normal(2) ** 2 + 0.5, np.array([4], np.float32)
gamma, beta = normal(2), normal(2)

CONVOLUTION, INNER_PRODUCT, RELU, DATA, SOFTMAX_LOSS = 4, 14, 18, 5, 21
(here / "v1.caffemodel").write_bytes(
    inside(1, "v1")
    + inside(2, inside(3, "data"), inside(3, "label"), inside(4, "data"), number(5, DATA),
             inside(36, number(3, 3), real(5, 104), real(5, 117), real(5, 123)))
    + inside(2, inside(2, "data"), inside(3, "conv"), inside(4, "conv"), number(5, CONVOLUTION), legacy(conv),
             legacy(conv_bias), real(7, 1), real(7, 2), inside(10, number(1, 2), number(4, 2), inside(7, inside(1, "xavier"))))
    + inside(2, inside(2, "conv"), inside(3, "conv"), inside(4, "relu"), number(5, RELU))
    + inside(2, inside(2, "conv"), inside(3, "fc"), inside(4, "fc"), number(5, INNER_PRODUCT), legacy(fc), legacy(fc_bias),
             inside(17, number(1, 3)))
    + inside(2, inside(2, "fc"), inside(2, "label"), inside(3, "loss"), inside(4, "loss"), number(5, SOFTMAX_LOSS))
)
(here / "v2.caffemodel").write_bytes(
    inside(1, "v2")
    + inside(100, inside(1, "data"), inside(2, "Input"), inside(4, "data"), number(10, 1),
             inside(143, inside(1, *(number(1, dim) for dim in (1, 3, 3, 3)))))
    + inside(100, inside(1, "conv"), inside(2, "Convolution"), inside(3, "data"), inside(4, "conv"), blob(conv, "diff"),
             inside(106, number(1, 2), number(2, 0), number(4, 2)))
    + inside(100, inside(1, "bn"), inside(2, "BatchNorm"), inside(3, "conv"), inside(4, "conv"),
             blob(mean * factor), blob(variance * factor, "single"), blob(factor), inside(139, number(1, 1), real(3, 0.01)))
    + inside(100, inside(1, "scale"), inside(2, "Scale"), inside(3, "conv"), inside(4, "conv"), blob(gamma, "single"),
             blob(beta, "double"), inside(142, number(4, 1)))
    + inside(100, inside(1, "fc"), inside(2, "InnerProduct"), inside(3, "conv"), inside(4, "fc"),
             blob(np.ascontiguousarray(fc.T), "pieces"), blob(fc_bias), inside(117, number(1, 3), number(6, 1)))
)
save_file({"conv.weight": conv, "conv.bias": conv_bias, "fc.weight": fc, "fc.bias": fc_bias}, here / "v1.safetensors")
save_file({"conv.weight": conv, "bn.running_mean": mean * factor / factor, "bn.running_var": variance * factor / factor,
           "bn.weight": gamma, "bn.bias": beta, "fc.weight": fc, "fc.bias": fc_bias}, here / "v2.safetensors")
