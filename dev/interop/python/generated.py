"""Builds networks by generated code, fills them, and runs them.

For each line of input, FRAMEWORK FOLDER, the folder holds code.py, weights.safetensors and
input.safetensors (`x`); output.safetensors (`logits`) is written beside them. Answers `ok`, or what
went wrong, on one line.
"""

import importlib.util
import pathlib
import sys

import black
import numpy
import safetensors.numpy


def formatted(path):
    text = path.read_text()
    should = black.format_str(text, mode=black.Mode())
    for line, wanted in zip(text.splitlines(), should.splitlines()):
        if line != wanted:
            raise ValueError(f"black writes {wanted!r}, not {line!r}")


def imported(path):
    spec = importlib.util.spec_from_file_location("generated", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytorch(code, weights, x):
    import torch

    module = imported(code)
    model = module.load_weights(module.build(), weights).eval()
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


def keras(code, weights, x):
    module = imported(code)
    model = module.load_weights(module.build(), weights)
    return numpy.asarray(model(numpy.moveaxis(x, 1, -1), training=False))


for line in sys.stdin:
    framework, folder = line.split(maxsplit=1)
    folder = pathlib.Path(folder.strip())
    try:
        x = safetensors.numpy.load_file(folder / "input.safetensors")["x"]
        run = {"pytorch": pytorch, "keras": keras}[framework]
        logits = run(folder / "code.py", str(folder / "weights.safetensors"), x)
        logits = numpy.ascontiguousarray(logits.reshape(logits.shape[0], -1))
        safetensors.numpy.save_file({"logits": logits}, folder / "output.safetensors")
        formatted(folder / "code.py")
        print("ok", flush=True)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(text[:300], flush=True)
