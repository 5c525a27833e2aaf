"""What the frameworks make of the trained SqueezeNet 1.1, each from a file of its own format.

    python trained.py DIRECTORY

DIRECTORY holds model.pth, model.weights.h5 with code.py, model.prototxt and model.caffemodel,
model.onnx, and input.safetensors (`x`, N×C×H×W). Prints, as JSON, the best five classes of each picture
by framework.
"""

import importlib.util
import json
import pathlib
import sys

import cv2
import numpy
import onnxruntime
import torch
import torchvision
from safetensors.numpy import load_file

here = pathlib.Path(sys.argv[1])


def pytorch(x):
    model = torchvision.models.squeezenet1_1(weights=None).eval()
    state = torch.load(here / "model.pth", weights_only=True)
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


def keras(x):
    spec = importlib.util.spec_from_file_location("generated", here / "code.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.build()
    model.load_weights(here / "model.weights.h5")
    return numpy.asarray(model(numpy.moveaxis(x, 1, -1), training=False))


def caffe(x):
    names = [str(here / f"model.{end}") for end in ("prototxt", "caffemodel")]
    model = cv2.dnn.readNetFromCaffe(*names)
    logits = []
    for picture in x:
        model.setInput(picture[None])
        logits.append(model.forward().reshape(-1).copy())
    return numpy.stack(logits)


def onnx(x):
    session = onnxruntime.InferenceSession(here / "model.onnx")
    return session.run(["logits"], {"input": x})[0]


x = load_file(here / "input.safetensors")["x"]
best = {}
for framework in (pytorch, keras, caffe, onnx):
    logits = framework(x).reshape(len(x), -1)
    best[framework.__name__] = numpy.argsort(-logits, axis=1)[:, :5].tolist()
print(json.dumps(best))
