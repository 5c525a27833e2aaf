"""Fills a network with reproducible numbers, runs it, and writes what comes out.

    python make_golden.py OUT_DIR NAME...            logits of the named networks, one JSON each
    python make_golden.py OUT_DIR --grads NAME       loss and gradients of one training step
    python make_golden.py OUT_DIR --train OPT STEPS  a training trajectory of lenet5
    python make_golden.py OUT_DIR --preprocess       an image through resize, crop, normalise

README.md states the recipe. Needs torch, torchvision, numpy (timm for the Inception-v4 family).
"""
import json
import math
import os
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import refmodels as R

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def fnv1a64(s):
    h = 0xCBF29CE484222325
    for b in s.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    return h


def uniform(name, n):
    """n float64 in [0, 1), multiples of 2^-24: splitmix64 counted from the name's FNV-1a hash."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(name)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -24


def fill(model, gain):
    """Every parameter and running statistic, by its state_dict name."""
    bn = {n for n, l in model.named_modules() if isinstance(l, nn.modules.batchnorm._BatchNorm)}
    sub = {n for n, l in model.named_modules() if isinstance(l, R.Subsample)}
    rbf = {n for n, l in model.named_modules() if isinstance(l, R.Rbf)}
    with torch.no_grad():
        for name, t in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            u = uniform(name, t.numel())
            owner, leaf = name.rsplit(".", 1)
            if owner in bn:
                v = {"weight": 0.75 + 0.5 * u, "bias": 0.2 * (2 * u - 1),
                     "running_mean": 0.2 * (2 * u - 1), "running_var": 0.5 + u}[leaf]
            elif owner in rbf:
                v = np.where(u < 0.5, -1.0, 1.0)
            elif owner in sub and leaf == "weight":
                v = 0.25 * (0.75 + 0.5 * u)
            elif leaf == "weight":
                v = gain * math.sqrt(6.0 / math.prod(t.shape[1:])) * (2 * u - 1)
            else:
                v = 0.1 * (2 * u - 1)
            t.copy_(torch.from_numpy(v.astype(np.float32)).view(t.shape))
    return model


def make_input(shape, lo, hi, name="input"):
    n, c, h, w = shape
    b = max(1, h // 8)
    gh, gw = -(-h // b), -(-w // b)
    fine = uniform(name, n * c * h * w).reshape(n, c, h, w)
    coarse = uniform(name + ".coarse", n * c * gh * gw).reshape(n, c, gh, gw)
    coarse = coarse[:, :, np.arange(h) // b][:, :, :, np.arange(w) // b]
    return torch.from_numpy((lo + (hi - lo) * (0.25 * fine + 0.75 * coarse)).astype(np.float32))


def paper_alexnet():
    m = R.alexnet_2012(k=2.0)
    for l in m.modules():
        if isinstance(l, nn.LocalResponseNorm): l.alpha = 5e-4
    return m


def tv(name, **kw):
    import torchvision.models as m
    if name.startswith("vgg"):
        kw["init_weights"] = False
    if name in ("googlenet", "inception_v3"):
        kw.update(aux_logits=False, init_weights=False, transform_input=False)
    return lambda: getattr(m, name)(weights=None, **kw)


def timm_model(name):
    def f():
        import timm
        return timm.create_model(name, pretrained=False)
    return f


IM, IM3, C = (3, 224, 224), (3, 299, 299), (3, 32, 32)
UNIT, RAW = (-2.0, 2.0), (-128.0, 128.0)
# name -> (builder, input, gain, range)
MODELS = {
    "alexnet_2012_paper": (lambda: paper_alexnet(), (3, 227, 227), 1.0, (-128.0, 128.0)),
    "vgg_a_lrn": (lambda: R.Vgg("A-LRN"), (3, 224, 224), 1.0, (-2.0, 2.0)),
    "vgg11": (tv("vgg11"), (3, 224, 224), 1.0, (-2.0, 2.0)),
    "vgg13": (tv("vgg13"), (3, 224, 224), 1.0, (-2.0, 2.0)),
    "vgg13_bn": (tv("vgg13_bn"), (3, 224, 224), 1.0, (-2.0, 2.0)),
    "vgg11_gap": (lambda: R.Vgg("A", head="gap"), (3, 224, 224), 1.0, (-2.0, 2.0)),
    "inception_resnet_v1": (R.inception_resnet_v1, (3, 299, 299), 1.0, (-2.0, 2.0)),
    "resnet101": (tv("resnet101"), (3, 224, 224), 0.7, (-2.0, 2.0)),
    "resnet20_cifar_b": (lambda: R.CifarResNet(20, "B"), (3, 32, 32), 0.7, (-2.0, 2.0)),
    "resnet20_cifar_c": (lambda: R.CifarResNet(20, "C"), (3, 32, 32), 0.7, (-2.0, 2.0)),
    "resnet32_cifar": (lambda: R.CifarResNet(32), (3, 32, 32), 0.7, (-2.0, 2.0)),
    "preresnet110_cifar": (lambda: R.PreCifarResNet(110, False), (3, 32, 32), 0.7, (-2.0, 2.0)),
    "squeezenet1_0": (tv("squeezenet1_0"), (3, 224, 224), 1.0, (-2.0, 2.0)),
    "zfnet_512_1024_512": (lambda: R.zfnet(wide=True), (3, 224, 224), 1.0, (-128.0, 128.0)),
    "preresnet101": (lambda: R.PreResNet(101), (3, 224, 224), 0.7, (-2.0, 2.0)),
    "vgg16_bn": (tv("vgg16_bn"), IM, 1.0, UNIT),
    "vgg19_bn": (tv("vgg19_bn"), IM, 1.0, UNIT),
    "vgg19_gap": (lambda: R.Vgg("E", head="gap"), IM, 1.0, UNIT),
    "resnet44_cifar": (lambda: R.CifarResNet(44), C, 0.7, UNIT),
    "resnet56_cifar": (lambda: R.CifarResNet(56), C, 0.7, UNIT),
    "resnet110_cifar": (lambda: R.CifarResNet(110), C, 0.7, UNIT),
    "resnet1202_cifar": (lambda: R.CifarResNet(1202), C, 0.25, UNIT),
    "resnet101_v1": (lambda: R.resnet_v1_strict(101), IM, 0.7, UNIT),
    "resnet152_v1": (lambda: R.resnet_v1_strict(152), IM, 0.7, UNIT),
    "preresnet152": (lambda: R.PreResNet(152), IM, 0.7, UNIT),
    "preresnet200": (lambda: R.PreResNet(200), IM, 0.7, UNIT),
    "preresnet1001_cifar": (lambda: R.PreCifarResNet(1001), C, 0.5, UNIT),

    "lenet5": (R.LeNet5, (1, 32, 32), 1.0, UNIT),
    "lenet5_1998": (R.LeNet5_1998, (1, 32, 32), 0.6, (-0.1, 1.175)),
    "alexnet": (tv("alexnet"), IM, 1.0, UNIT),
    "alexnet_2012": (R.alexnet_2012, (3, 227, 227), 1.0, RAW),
    "caffenet": (lambda: R.alexnet_2012(norm_first=False), (3, 227, 227), 1.0, RAW),
    "zfnet": (R.zfnet, IM, 1.0, RAW),
    "nin_imagenet": (R.nin_imagenet, IM, 1.0, UNIT),
    "nin_cifar10": (R.nin_cifar10, C, 1.0, UNIT),
    "vgg11_bn": (tv("vgg11_bn"), IM, 1.0, UNIT),
    "vgg16": (tv("vgg16"), IM, 1.0, UNIT),
    "vgg19": (tv("vgg19"), IM, 1.0, UNIT),
    "vgg_c": (lambda: R.Vgg("C"), IM, 1.0, UNIT),
    "vgg16_gap": (lambda: R.Vgg("D", head="gap"), IM, 1.0, UNIT),
    "googlenet": (tv("googlenet"), IM, 1.0, UNIT),
    "googlenet_caffe": (lambda: R.GoogLeNetCaffe(aux=False), IM, 1.0, RAW),
    "bn_inception": (R.BNInception, IM, 1.0, UNIT),
    "inception_v3": (tv("inception_v3"), IM3, 1.0, UNIT),
    "inception_v4": (timm_model("inception_v4"), IM3, 1.0, UNIT),
    "inception_resnet_v2": (timm_model("inception_resnet_v2"), IM3, 1.0, UNIT),
    "resnet18": (tv("resnet18"), IM, 0.7, UNIT),
    "resnet34": (tv("resnet34"), IM, 0.7, UNIT),
    "resnet50": (tv("resnet50"), IM, 0.7, UNIT),
    "resnet50_v1": (lambda: R.resnet_v1_strict(50), IM, 0.7, UNIT),
    "resnet152": (tv("resnet152"), IM, 0.7, UNIT),
    "resnet20_cifar": (lambda: R.CifarResNet(20), C, 0.7, UNIT),
    "resnet56_cifar_b": (lambda: R.CifarResNet(56, "B"), C, 0.7, UNIT),
    "preresnet164_cifar": (lambda: R.PreCifarResNet(164), C, 0.7, UNIT),
    "preresnet50": (lambda: R.PreResNet(50), IM, 0.7, UNIT),
    "squeezenet1_1": (tv("squeezenet1_1"), IM, 1.0, UNIT),
    "resnext50_32x4d": (tv("resnext50_32x4d"), IM, 0.7, UNIT),
    "densenet121": (tv("densenet121"), IM, 1.0, UNIT),
    "mobilenet_v2": (tv("mobilenet_v2"), IM, 0.8, UNIT),
}
TAPS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
        nn.LocalResponseNorm, R.Subsample, R.SparseConv, R.Rbf)


def sig(x, n=9):
    return float(("%." + str(n) + "g") % x)


def rows(t):
    return [[sig(v) for v in r] for r in t.tolist()]


def logits(name):
    build, shape, gain, (lo, hi) = MODELS[name]
    m = fill(build(), gain).eval()
    x = make_input((2,) + shape, lo, hi)
    with torch.no_grad():
        y32 = m(x).double()
        m.double()
        taps = []

        def hook(n):
            def f(l, i, o):
                taps.append([n, list(o.shape[1:]), sig(o[0].mean().item(), 6), sig(o[0].abs().mean().item(), 6)])
            return f
        hs = [l.register_forward_hook(hook(n)) for n, l in m.named_modules() if isinstance(l, TAPS)]
        y = m(x.double())
        for h in hs:
            h.remove()
    scale = y.abs().max().item()
    noise = (y - y32).abs().max().item() / scale
    spread = (y[0] - y[1]).abs().max().item() / scale
    return {"model": name, "gain": gain, "input": {"shape": [2] + list(shape), "lo": lo, "hi": hi},
            "torch": torch.__version__.split("+")[0], "noise": sig(noise, 3), "spread": sig(spread, 3),
            "max_abs": sig(scale), "top5": y.topk(5, 1).indices.tolist() if y.shape[1] >= 5 else None,
            "logits": rows(y), "taps": taps}


def grads(name):
    build, shape, gain, (lo, hi) = MODELS[name]
    batch = 8
    if name == "resnet18":
        shape, batch = (3, 64, 64), 4
    if name in ("googlenet", "squeezenet1_1", "vgg11_bn"):
        raise SystemExit("dropout: not reproducible")
    m = fill(build(), gain).double().train()
    x = make_input((batch,) + shape, lo, hi).double()
    y = m(x)
    classes = y.shape[1]
    labels = [(37 * i + 11) % classes for i in range(batch)]
    loss = F.cross_entropy(y, torch.tensor(labels))
    loss.backward()
    out = {"model": name, "gain": gain, "input": {"shape": [batch] + list(shape), "lo": lo, "hi": hi},
           "mode": "train", "labels": labels, "loss": sig(loss.item(), 12), "logits_norm": sig(y.norm().item()),
           "grads": {n: {"shape": list(p.shape), "norm": sig(p.grad.norm().item()),
                         "first": [sig(v) for v in p.grad.flatten()[:4].tolist()]}
                     for n, p in m.named_parameters()},
           "buffers_after": {n: {"norm": sig(b.norm().item()), "first": [sig(v) for v in b.flatten()[:2].tolist()]}
                             for n, b in m.named_buffers() if "running" in n}}
    return out


def train(opt, steps, lr=None):
    build, shape, gain, (lo, hi) = MODELS["lenet5"]
    m = fill(build(), gain).double().train()
    o = {"sgd": lambda p: torch.optim.SGD(p, lr=lr or 0.02, momentum=0.9, weight_decay=5e-4),
         "nesterov": lambda p: torch.optim.SGD(p, lr=lr or 0.02, momentum=0.9, weight_decay=5e-4, nesterov=True),
         "adam": lambda p: torch.optim.Adam(p, lr=lr or 1e-3),
         "adamw": lambda p: torch.optim.AdamW(p, lr=lr or 1e-3, weight_decay=1e-2),
         "rmsprop": lambda p: torch.optim.RMSprop(p, lr=lr or 1e-3, alpha=0.9, eps=1e-8, momentum=0.9)}[opt](m.parameters())
    d = {k: v for k, v in o.defaults.items() if isinstance(v, (int, float, tuple, bool)) and k in (
        "lr", "momentum", "weight_decay", "nesterov", "betas", "eps", "alpha", "dampening", "centered")}
    losses = []
    for t in range(steps):
        k = t % 4
        x = make_input((16,) + shape, lo, hi, "input.%d" % k).double()
        labels = torch.tensor([(3 * i + k) % 10 for i in range(16)])
        o.zero_grad()
        loss = F.cross_entropy(m(x), labels)
        loss.backward()
        o.step()
        losses.append(sig(loss.item(), 12))
    return {"model": "lenet5", "gain": gain, "optimizer": opt, "settings": d, "batch": 16, "steps": steps,
            "input": {"shape": [16] + list(shape), "lo": lo, "hi": hi, "name": "input.<t mod 4>"},
            "labels": "(3 i + t mod 4) mod 10", "losses": losses,
            "params_after": {n: sig(p.norm().item(), 12) for n, p in m.named_parameters()}}


def synthetic(w, h):
    """[h, w, 3] bytes: two ramps that wrap, and a coarse-plus-fine noise."""
    y, x = np.mgrid[0:h, 0:w]
    noise = (uniform("image", h * w).reshape(h, w) * 256).astype(np.int64)
    return np.stack([(3 * x + 5 * y) % 256, (x * x // 64 + 2 * y) % 256, (noise // 2 + (x // 32 + y // 32) % 2 * 128)],
                    -1).astype(np.uint8)


def preprocess(w, h, resize, crop):
    from PIL import Image
    import PIL
    from torchvision.transforms import functional as T, InterpolationMode
    a = synthetic(w, h)
    im = Image.fromarray(a)
    r = T.resize(im, [resize], interpolation=InterpolationMode.BILINEAR, antialias=True)
    c = np.asarray(T.center_crop(r, [crop]))
    t = T.normalize(T.to_tensor(Image.fromarray(c)), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).double()
    at = [(y, x) for y in range(3, crop, crop // 5) for x in range(5, crop, crop // 5)]
    return {"image": [w, h], "image_first_rows": a[:2, :4].tolist(), "image_sum": a.astype(np.int64).sum((0, 1)).tolist(),
            "resize": resize, "resized": [r.size[0], r.size[1]], "crop": crop, "pillow": PIL.__version__,
            "filter": "bilinear, antialiased (PIL)", "crop_sum": c.astype(np.int64).sum((0, 1)).tolist(),
            "samples": [[y, x] + c[y, x].tolist() for y, x in at],
            "normalized_mean": [sig(v) for v in t.mean((1, 2)).tolist()],
            "normalized_std": [sig(v) for v in t.std((1, 2), unbiased=False).tolist()]}


def dump(obj, path):
    with open(path, "w") as f:
        f.write("{")
        for i, (k, v) in enumerate(obj.items()):
            f.write("%s\n%s: " % ("," if i else "", json.dumps(k)))
            if isinstance(v, list) and v and isinstance(v[0], list):
                f.write("[" + ",".join("\n" + json.dumps(r, separators=(",", ":")) for r in v) + "\n]")
            elif isinstance(v, dict) and len(v) > 6:
                f.write("{" + ",".join("\n%s: %s" % (json.dumps(a), json.dumps(b, separators=(",", ":")))
                                       for a, b in v.items()) + "\n}")
            else:
                f.write(json.dumps(v))
        f.write("\n}\n")


def main(out, *args):
    os.makedirs(out, exist_ok=True)
    if args[0] == "--grads":
        for n in args[1:]:
            dump(grads(n), os.path.join(out, "grads_%s.json" % n))
    elif args[0] == "--train":
        lr = float(args[3]) if len(args) > 3 else None
        dump(train(args[1], int(args[2]), lr), os.path.join(out, "train_lenet5_%s.json" % args[1]))
    elif args[0] == "--preprocess":
        w, h, r, c = map(int, args[1:5])
        dump(preprocess(w, h, r, c), os.path.join(out, "preprocess_%dx%d_%d_%d.json" % (w, h, r, c)))
    else:
        for n in args:
            g = logits(n)
            dump(g, os.path.join(out, n + ".json"))
            print("%-22s scale %.4g noise %.2g spread %.2g top1 %s" % (
                n, g["max_abs"], g["noise"], g["spread"], [r[0] for r in g["top5"]]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
