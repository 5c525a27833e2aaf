"""Builds networks by generated code, fills them, runs them, and lets their weights travel.

For each line of input, STEP FOLDER, a step of one network:

    pytorch  builds the module of code.py, fills it from weights.safetensors and runs it on
             input.safetensors (`x`): output.safetensors (`logits`), and theirs.pth by torch.save
    keras    the same with the model: theirs.weights.h5
    back     loads ours.pth or ours.weights.h5 into what the step before built: equal to the bit

Answers `ok`, or what went wrong, on one line.
"""

import importlib.util
import pathlib
import sys
import zlib

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


class PyTorch:
    def __init__(self, folder):
        import torch

        # What is drawn here is replaced, and drawing takes longer than the rest.
        for layer in (torch.nn.Linear, torch.nn.Conv2d):
            layer.reset_parameters = lambda self: None
        module = imported(folder / "code.py")
        weights = str(folder / "weights.safetensors")
        self.torch, self.model = torch, module.load_weights(module.build(), weights)
        self.model.eval()

    def run(self, x):
        with self.torch.no_grad():
            return self.model(self.torch.from_numpy(x)).numpy()

    def save(self, folder):
        self.torch.save(self.model.state_dict(), folder / "theirs.pth")

    def load(self, folder):
        state = self.torch.load(folder / "ours.pth", weights_only=True)
        self.model.load_state_dict(state, strict=True)

    def weights(self):
        """All values but the counters of batches, by name."""
        state = self.model.state_dict().items()
        floats = [(name, value) for name, value in state if value.is_floating_point()]
        return {name: value.numpy() for name, value in floats}

    def clear(self):
        for value in self.model.state_dict().values():
            value.zero_()


class Keras:
    def __init__(self, folder):
        import keras

        keras.initializers.GlorotUniform.__call__ = keras.initializers.Zeros.__call__
        module = imported(folder / "code.py")
        weights = str(folder / "weights.safetensors")
        self.model = module.load_weights(module.build(), weights)

    def run(self, x):
        return numpy.asarray(self.model(numpy.moveaxis(x, 1, -1), training=False))

    def save(self, folder):
        self.model.save_weights(folder / "theirs.weights.h5")

    def load(self, folder):
        self.model.load_weights(folder / "ours.weights.h5")

    def clear(self):
        for weight in self.model.weights:
            weight.assign(numpy.zeros(weight.shape, "float32"))

    def weights(self):
        """All values, by name."""
        return {weight.path: numpy.asarray(weight) for weight in self.model.weights}


network = None


def there(step, folder):
    global network
    network = None
    network = {"pytorch": PyTorch, "keras": Keras}[step](folder)
    x = safetensors.numpy.load_file(folder / "input.safetensors")["x"]
    logits = network.run(x)
    logits = numpy.ascontiguousarray(logits.reshape(logits.shape[0], -1))
    safetensors.numpy.save_file({"logits": logits}, folder / "output.safetensors")
    network.save(folder)
    formatted(folder / "code.py")


def digests(values):
    return {name: zlib.crc32(value) for name, value in values.items()}


def back(folder):
    before = digests(network.weights())
    network.clear()
    network.load(folder)
    for name, digest in digests(network.weights()).items():
        if digest != before[name]:
            raise ValueError(f"{name} is not what it was")


for line in sys.stdin:
    step, folder = line.split(maxsplit=1)
    folder = pathlib.Path(folder.strip())
    try:
        if step == "back":
            back(folder)
        else:
            there(step, folder)
        print("ok", flush=True)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(text[:300], flush=True)
