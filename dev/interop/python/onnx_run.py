"""Checks models and runs them in ONNX Runtime.

For each line of input, a folder, the folder holds model.onnx, input.safetensors (`x`) and
weights.safetensors, all of whose tensors must be in the model, equal to the bit; output.safetensors,
with each output under its name, is written beside them. Answers `ok`, or what went wrong, on one line.
"""

import pathlib
import sys
import traceback

import numpy
import onnx
import onnxruntime
import safetensors.numpy

options = onnxruntime.SessionOptions()
options.log_severity_level = 3


def same_weights(path, weights):
    model = onnx.load(path)
    there = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in safetensors.numpy.load_file(weights).items():
        # Coefficients of LeNet's pooling stand all over their windows.
        stored = onnx.numpy_helper.to_array(there[name]).reshape(value.size, -1)
        if (stored.view("u4") != value.reshape(-1, 1).view("u4")).any():
            raise ValueError(f"{name} has other values")


def run(folder):
    path = str(folder / "model.onnx")
    onnx.checker.check_model(path, full_check=True)
    same_weights(path, folder / "weights.safetensors")
    x = safetensors.numpy.load_file(folder / "input.safetensors")["x"]
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {"input": x})
    values = {name: numpy.ascontiguousarray(y) for name, y in zip(names, values)}
    safetensors.numpy.save_file(values, folder / "output.safetensors")


for line in sys.stdin:
    try:
        run(pathlib.Path(line.strip()))
        print("ok", flush=True)
    except Exception:
        print(" | ".join(traceback.format_exc().splitlines()[-3:]), flush=True)
