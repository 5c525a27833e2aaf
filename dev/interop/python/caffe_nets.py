"""Writes networks as Caffe has them, with random weights, and what OpenCV makes of a random input.

python caffe_nets.py DIRECTORY NETWORK [WEIGHTS]

NETWORK.prototxt, NETWORK.caffemodel, and NETWORK.safetensors with `input` and `logits`. The networks
are those of Caffe's model zoo, by their published definitions; of googlenet the weights are those of
NETWORK_train_val.prototxt, with the heads of training. WEIGHTS are trained ones of squeezenet, with
torchvision's names.
"""

import math
import pathlib
import sys

import cv2
import numpy as np
from google.protobuf import text_format
from safetensors.numpy import load_file, save_file

from caffe_pb import NetParameter

V1 = {"Convolution": "CONVOLUTION", "InnerProduct": "INNER_PRODUCT", "ReLU": "RELU", "Pooling": "POOLING", "LRN": "LRN",
      "Concat": "CONCAT", "Dropout": "DROPOUT", "Softmax": "SOFTMAX", "SoftmaxWithLoss": "SOFTMAX_LOSS", "Accuracy": "ACCURACY"}

# As in train_val.prototxt; pictures of training are of another size here, to be told from those of testing.
DATA = """name: "{name}"
layers {{
  name: "data" type: DATA top: "data" top: "label" include: {{ phase: TRAIN }}
  transform_param {{ mirror: true crop_size: 200 mean_value: 104 mean_value: 117 mean_value: 123 }}
  data_param {{ source: "train_lmdb" batch_size: 32 backend: LMDB }}
}}
layers {{
  name: "data" type: DATA top: "data" top: "label" include: {{ phase: TEST }}
  transform_param {{ crop_size: {side} mean_value: 104 mean_value: 117 mean_value: 123 }}
  data_param {{ source: "val_lmdb" batch_size: 50 backend: LMDB }}
}}
"""


class Net:
    """A network that is written down line by line; it knows the shapes, for the weights."""

    def __init__(self, name, shape, v1=False, legacy=False, declared="input_dim", seed=1):
        self.v1, self.legacy, self.random = v1, legacy, np.random.default_rng(seed)
        self.shapes, self.weights, self.logits = {"data": shape}, {}, None
        dims = [1, *shape]
        self.text = {
            "input_dim": f'name: "{name}"\ninput: "data"\n' + "".join(f"input_dim: {d}\n" for d in dims),
            "input_shape": f'name: "{name}"\ninput: "data"\ninput_shape {{ ' + " ".join(f"dim: {d}" for d in dims) + " }\n",
            "layer": f'name: "{name}"\nlayer {{ name: "input" type: "Input" top: "data"\n  input_param {{ shape: {{ '
            + " ".join(f"dim: {d}" for d in dims) + " } } }\n",
            "data": DATA.format(name=name, side=shape[1]),
        }[declared]

    def layer(self, kind, name, bottoms, top, attributes="", shape=None, weights=()):
        kind = f"type: {V1[kind]}" if self.v1 else f'type: "{kind}"'
        word = "layers" if self.v1 else "layer"
        reads = "".join(f' bottom: "{bottom}"' for bottom in bottoms)
        self.text += f'{word} {{\n  name: "{name}" {kind}{reads} top: "{top}"\n  {attributes}\n}}\n'
        self.shapes[top] = shape or self.shapes[bottoms[0]]
        if weights:
            self.weights[name] = weights
        return top

    def normal(self, *shape):
        deviation = math.sqrt(2 / max(1, math.prod(shape[1:])))
        return (self.random.standard_normal(shape) * deviation).astype(np.float32)

    def conv(self, name, x, out, kernel, stride=1, pad=0, group=1, bias=True, attributes=None, dilation=1):
        c, h, w = self.shapes[x]
        kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        stride = stride if isinstance(stride, tuple) else (stride, stride)
        pad = pad if isinstance(pad, tuple) else (pad, pad)
        h, w = ((n + 2 * p - dilation * (k - 1) - 1) // s + 1 for n, k, s, p in zip((h, w), kernel, stride, pad))
        given = attributes or f"kernel_size: {kernel[0]} stride: {stride[0]} pad: {pad[0]}"
        more = ("" if bias else " bias_term: false") + (f" group: {group}" if group > 1 else "")
        more += ' weight_filler { type: "xavier" }'
        weights = [self.normal(out, c // group, *kernel)] + ([self.normal(out) * 0.1] if bias else [])
        return self.layer("Convolution", name, [x], name, f"convolution_param {{ num_output: {out} {given}{more} }}",
                          (out, h, w), weights)

    def relu(self, x, name=None):
        # As Caffe's own networks have it: `fire2/relu_squeeze1x1`.
        scope, slash, layer = x.rpartition("/")
        return self.layer("ReLU", name or f"{scope}{slash}relu_{layer}", [x], x)

    def pool(self, name, x, kernel, stride=1, pad=0, kind="MAX"):
        c, h, w = self.shapes[x]
        if kernel == 0:
            return self.layer("Pooling", name, [x], name, f"pooling_param {{ pool: {kind} global_pooling: true }}", (c, 1, 1))

        def count(n):
            n_out = math.ceil((n + 2 * pad - kernel) / stride) + 1
            return n_out - 1 if pad and (n_out - 1) * stride >= n + pad else n_out

        attributes = f"pooling_param {{ pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad} }}"
        return self.layer("Pooling", name, [x], name, attributes, (c, count(h), count(w)))

    def lrn(self, name, x):
        return self.layer("LRN", name, [x], name, "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")

    def drop(self, x, ratio=0.5):
        return self.layer("Dropout", f"drop_{x}", [x], x, f"dropout_param {{ dropout_ratio: {ratio} }}")

    def concat(self, name, xs):
        _, h, w = self.shapes[xs[0]]
        return self.layer("Concat", name, xs, name, "", (sum(self.shapes[x][0] for x in xs), h, w))

    def fc(self, name, x, out):
        weights = [self.normal(out, math.prod(self.shapes[x])), self.normal(out) * 0.1]
        return self.layer("InnerProduct", name, [x], name, f"inner_product_param {{ num_output: {out} }}", (out,), weights)

    def norm(self, x, name, eps="", factor=999.982):
        c = self.shapes[x][0]
        statistics = [self.normal(c) * factor, (self.random.random(c) + 0.5).astype(np.float32) * factor]
        attributes = f"batch_norm_param {{ use_global_stats: true {eps} }}"
        return self.layer("BatchNorm", name, [x], x, attributes, None, [*statistics, np.array([factor], np.float32)])

    def scale(self, x, name, bias=True):
        c = self.shapes[x][0]
        values = [(self.random.random(c) + 0.5).astype(np.float32)] + ([self.normal(c) * 0.1] if bias else [])
        return self.layer("Scale", name, [x], x, f"scale_param {{ bias_term: {str(bias).lower()} }}", None, values)

    def end(self, logits, softmax=True):
        self.logits = logits
        if softmax:
            self.layer("Softmax", "prob", [logits], "prob")
        return self

    def model(self):
        net = text_format.Parse(self.text, NetParameter(), allow_unknown_field=True)
        for layer in [*net.layer, *net.layers]:
            for weight in self.weights.get(layer.name, ()):
                blob = layer.blobs.add()
                if self.legacy:
                    shape = [1] * (4 - weight.ndim) + list(weight.shape)
                    blob.num, blob.channels, blob.height, blob.width = shape
                else:
                    blob.shape.dim.extend(weight.shape)
                blob.data.extend(weight.ravel())
        return net


def features():
    net = Net("features", (3, 23, 30), declared="layer")
    x = net.conv("conv1", "data", 8, (3, 5), (2, 1), (1, 2), attributes="kernel_h: 3 kernel_w: 5 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2")
    x = net.scale(net.norm(x, "bn1", "eps: 0.001"), "scale1")
    x = net.layer("TanH", "tanh1", [x], "tanh1")
    a = net.conv("twice", x, 8, (3, 1), 1, (1, 0), attributes="kernel_size: [3, 1] pad: 1 pad: 0")
    a = net.norm(a, "bn_alone", factor=1.0)
    b = net.scale(net.conv("dilated", x, 8, 3, 1, 2, group=2, bias=False, dilation=2,
                           attributes="kernel_size: 3 pad: 2 dilation: 2"), "scale_alone", bias=True)
    b = net.scale(b, "scale_only", bias=False)
    x = net.layer("Eltwise", "sum", [a, b], "sum", "eltwise_param { operation: SUM coeff: 1 coeff: -0.3 }")
    x = net.relu(net.scale(net.norm(x, "bn2"), "scale2", bias=False))
    c = net.pool("avg", x, 3, 2, 1, "AVE")
    d = net.pool("max", x, 2, 2, 1)
    d = net.conv("fit", d, 4, 1)
    d = net.layer("Sigmoid", "sigmoid", [d], "sigmoid")
    x = net.concat("both", [c, d])
    x = net.pool("ceil", net.lrn("lrn", x), 3, 2)
    x = net.layer("Power", "same", [x], "same", "power_param { power: 1 }")
    x = net.drop(net.relu(net.fc("fc1", x, 24)))
    return net.end(net.fc("fc2", x, 7))


def alexnet(pool_first, name, classes=1000, wide=4096):
    net = Net(name, (3, 227, 227))
    x = "data"
    for i, (out, kernel, stride, pad, group) in enumerate([(96, 11, 4, 0, 1), (256, 5, 1, 2, 2)], 1):
        x = net.relu(net.conv(f"conv{i}", x, out, kernel, stride, pad, group))
        steps = [lambda x: net.lrn(f"norm{i}", x), lambda x: net.pool(f"pool{i}", x, 3, 2)]
        for step in steps[::-1] if pool_first else steps:
            x = step(x)
    for i, (out, group) in enumerate([(384, 1), (384, 2), (256, 2)], 3):
        x = net.relu(net.conv(f"conv{i}", x, out, 3, 1, 1, group))
    x = net.pool("pool5", x, 3, 2)
    x = net.drop(net.relu(net.fc("fc6", x, wide)))
    x = net.drop(net.relu(net.fc("fc7", x, wide)))
    return net.end(net.fc("fc8", x, classes))


def squeezenet():
    net = Net("squeezenet_v1.1", (3, 224, 224), declared="layer")
    x = net.relu(net.conv("conv1", "data", 64, 3, 2))
    x = net.pool("pool1", x, 3, 2)
    for i, (s, e) in enumerate([(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2, 2):
        squeeze = net.relu(net.conv(f"fire{i}/squeeze1x1", x, s, 1))
        x = net.concat(f"fire{i}/concat", [net.relu(net.conv(f"fire{i}/expand1x1", squeeze, e, 1)),
                                           net.relu(net.conv(f"fire{i}/expand3x3", squeeze, e, 3, 1, 1))])
        if i in (3, 5):
            x = net.pool(f"pool{i}", x, 3, 2)
    x = net.relu(net.conv("conv10", net.drop(x), 1000, 1))
    return net.end(net.pool("pool10", x, 0, kind="AVE"))


def head(net, i, x):
    """An auxiliary classifier of training; the rest of the network has the same weights without it."""
    random, net.random = net.random, np.random.default_rng(100 + i)
    x = net.relu(net.conv(f"loss{i}/conv", net.pool(f"loss{i}/ave_pool", x, 5, 3, kind="AVE"), 128, 1))
    x = net.fc(f"loss{i}/classifier", net.drop(net.relu(net.fc(f"loss{i}/fc", x, 1024)), 0.7), 1000)
    net.layer("SoftmaxWithLoss", f"loss{i}/loss", [x, "label"], f"loss{i}/loss1", "loss_weight: 0.3", ())
    net.layer("Accuracy", f"loss{i}/top-1", [x, "label"], f"loss{i}/top-1", "include: { phase: TEST }", ())
    net.random = random


def googlenet(train=False):
    net = Net("GoogleNet", (3, 224, 224), v1=True, legacy=True, declared="data" if train else "input_dim")
    x = net.relu(net.conv("conv1/7x7_s2", "data", 64, 7, 2, 3))
    x = net.lrn("pool1/norm1", net.pool("pool1/3x3_s2", x, 3, 2))
    x = net.relu(net.conv("conv2/3x3_reduce", x, 64, 1))
    x = net.relu(net.conv("conv2/3x3", x, 192, 3, 1, 1))
    x = net.pool("pool2/3x3_s2", net.lrn("conv2/norm2", x), 3, 2)
    table = {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
             "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
             "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)}
    for at, (n1, r3, n3, r5, n5, proj) in table.items():
        i = f"inception_{at}"
        if at in ("4a", "5a"):
            x = net.pool(f"pool{int(at[0]) - 1}/3x3_s2", x, 3, 2)
        one = net.relu(net.conv(f"{i}/1x1", x, n1, 1))
        three = net.relu(net.conv(f"{i}/3x3", net.relu(net.conv(f"{i}/3x3_reduce", x, r3, 1)), n3, 3, 1, 1))
        five = net.relu(net.conv(f"{i}/5x5", net.relu(net.conv(f"{i}/5x5_reduce", x, r5, 1)), n5, 5, 1, 2))
        pooled = net.relu(net.conv(f"{i}/pool_proj", net.pool(f"{i}/pool", x, 3, 1, 1), proj, 1))
        x = net.concat(f"{i}/output", [one, three, five, pooled])
        if train and at in ("4a", "4d"):
            head(net, 1 if at == "4a" else 2, x)
    x = net.drop(net.pool("pool5/7x7_s1", x, 7, 1, kind="AVE"), 0.4)
    x = net.fc("loss3/classifier", x, 1000)
    if train:
        net.layer("SoftmaxWithLoss", "loss3/loss3", [x, "label"], "loss3/loss3", "loss_weight: 1", ())
    return net.end(x, softmax=not train)


def nin():
    net = Net("nin_imagenet", (3, 224, 224), v1=True)
    x = "data"
    for conv, out, kernel, stride, pad, cccp, pool in [
        ("conv1", 96, 11, 4, 0, ("cccp1", "cccp2"), "pool0"), ("conv2", 256, 5, 1, 2, ("cccp3", "cccp4"), "pool2"),
        ("conv3", 384, 3, 1, 1, ("cccp5", "cccp6"), "pool3"), ("conv4-1024", 1024, 3, 1, 1, ("cccp7-1024", "cccp8-1024"), "pool4")]:
        x = net.relu(net.conv(conv, x, out, kernel, stride, pad))
        x = net.relu(net.conv(cccp[0], x, out, 1))
        x = net.relu(net.conv(cccp[1], x, 1000 if out == 1024 else out, 1))
        if pool == "pool4":
            x = net.pool(pool, x, 6, 1, kind="AVE")
        else:
            x = net.pool(pool, x, 3, 2)
    return net.end(x)


def resnet(name, repeats, bias, side):
    net = Net(name, (3, side, side))

    def conv_norm(at, x, out, kernel, stride=1, pad=0, bias=False, conv="res"):
        x = net.conv(conv + at, x, out, kernel, stride, pad, bias=bias)
        at = f"_{conv}{at}" if conv == "conv" else at
        return net.scale(net.norm(x, "bn" + at), "scale" + at)

    x = net.relu(conv_norm("1", "data", 64, 7, 2, 3, bias=bias, conv="conv"))
    x = net.pool("pool1", x, 3, 2)
    for stage, blocks in enumerate(repeats, 2):
        for i in range(blocks):
            letters = "a" if i == 0 else f"b{i}" if blocks > 6 or (stage == 3 and blocks > 3 and sum(repeats) > 16) else "abcdef"[i]
            at, stride, width = f"{stage}{letters}", 2 if stage > 2 and i == 0 else 1, 64 << (stage - 2)
            y = net.relu(conv_norm(f"{at}_branch2a", x, width, 1, stride))
            y = net.relu(conv_norm(f"{at}_branch2b", y, width, 3, 1, 1))
            y = conv_norm(f"{at}_branch2c", y, 4 * width, 1)
            # Small, or the values of a hundred layers grow beyond all bounds.
            net.weights[f"scale{at}_branch2c"][0] *= 0.3
            short = conv_norm(f"{at}_branch1", x, 4 * width, 1, stride) if i == 0 else x
            x = net.relu(net.layer("Eltwise", f"res{at}", [short, y], f"res{at}"))
    x = net.pool("pool5", x, net.shapes[x][1], 1, kind="AVE")
    return net.end(net.fc("fc1000", x, 1000))


def vgg(name, repeats, side, wide, classes):
    net = Net(name, (3, side, side), v1=True, legacy=True)
    x = "data"
    for stage, (out, count) in enumerate(zip((64, 128, 256, 512, 512), repeats), 1):
        for i in range(1, count + 1):
            x = net.relu(net.conv(f"conv{stage}_{i}", x, out, 3, 1, 1), f"relu{stage}_{i}")
        x = net.pool(f"pool{stage}", x, 2, 2)
    x = net.drop(net.relu(net.fc("fc6", x, wide)))
    x = net.drop(net.relu(net.fc("fc7", x, wide)))
    return net.end(net.fc("fc8", x, classes))


def zfnet(wide, classes):
    net = Net("ZF", (3, 224, 224), declared="input_shape")
    x = net.relu(net.conv("conv1", "data", 96, 7, 2, 1))
    x = net.lrn("norm1", net.pool("pool1", x, 3, 2))
    x = net.relu(net.conv("conv2", x, 256, 5, 2))
    x = net.lrn("norm2", net.pool("pool2", x, 3, 2))
    for i, out in ((3, 384), (4, 384), (5, 256)):
        x = net.relu(net.conv(f"conv{i}", x, out, 3, 1, 1))
    x = net.drop(net.relu(net.fc("fc6", net.pool("pool5", x, 3, 2), wide)))
    return net.end(net.fc("fc8", net.drop(net.relu(net.fc("fc7", x, wide))), classes), softmax=False)


NETWORKS = {
    "features": features,
    "alexnet": lambda: alexnet(False, "AlexNet"),
    "caffenet": lambda: alexnet(True, "CaffeNet", 10, 64),
    "squeezenet": squeezenet,
    "googlenet": googlenet,
    "nin": nin,
    "resnet50": lambda: resnet("ResNet-50", (3, 4, 6, 3), True, 224),
    "resnet101": lambda: resnet("ResNet-101", (3, 4, 23, 3), False, 64),
    "resnet152": lambda: resnet("ResNet-152", (3, 8, 36, 3), False, 64),
    "vgg16": lambda: vgg("VGG_ILSVRC_16_layers", (2, 2, 3, 3, 3), 64, 128, 10),
    "vgg19": lambda: vgg("VGG_ILSVRC_19_layers", (2, 2, 4, 4, 4), 32, 128, 10),
    "vgg16_whole": lambda: vgg("VGG_ILSVRC_16_layers", (2, 2, 3, 3, 3), 224, 4096, 1000),
    "zfnet": lambda: zfnet(64, 10),
}


def trained(net, weights):
    """The names that the layers of torchvision's squeezenet1_1 have in Caffe."""
    fires = {3: 2, 4: 3, 6: 4, 7: 5, 9: 6, 10: 7, 11: 8, 12: 9}
    names = {"features.0": "conv1", "classifier.1": "conv10"}
    for theirs, ours in fires.items():
        names[f"features.{theirs}.squeeze"] = f"fire{ours}/squeeze1x1"
        names[f"features.{theirs}.expand1x1"] = f"fire{ours}/expand1x1"
        names[f"features.{theirs}.expand3x3"] = f"fire{ours}/expand3x3"
    tensors = load_file(weights)
    net.weights = {name: [tensors[f"{key}.weight"], tensors[f"{key}.bias"]] for key, name in names.items()}


def main(directory, name, weights=None):
    net = NETWORKS[name]()
    if weights:
        trained(net, weights)
    path = pathlib.Path(directory) / name
    prototxt, caffemodel = f"{path}.prototxt", f"{path}.caffemodel"
    model = net.model()
    pathlib.Path(prototxt).write_text(net.text)
    if name == "googlenet":
        train = googlenet(train=True)
        pathlib.Path(f"{path}_train_val.prototxt").write_text(train.text)
        model = train.model()
    pathlib.Path(caffemodel).write_bytes(model.SerializeToString())
    image = net.random.standard_normal((1, *net.shapes["data"])).astype(np.float32) * 50
    theirs = cv2.dnn.readNetFromCaffe(prototxt, caffemodel)
    theirs.setInput(image)
    logits = theirs.forward(net.logits).reshape(1, -1).copy()
    save_file({"input": image, "logits": logits}, f"{path}.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
