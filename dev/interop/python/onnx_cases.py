"""The backend tests of the package `onnx`, as files.

Arguments: a folder, and `node` or `light`. For each case the folder gets one of its name with
model.onnx, input.safetensors (`x`) and expected.safetensors (`y`), and cases.json lists name, rtol
and atol of all. Of the operators of a node the first input is fed; the others become constants of
the model.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnx.backend.test.loader as loader
import onnx.backend.test.runner as runner
import safetensors.numpy
from onnx import numpy_helper

OPERATORS = set(
    """Add AveragePool BatchNormalization Clip Concat Conv Div Dropout Flatten Gemm
    GlobalAveragePool GlobalMaxPool Identity LRN LeakyRelu LogSoftmax MatMul MaxPool Mul Pad Relu
    Reshape Sigmoid Softmax Squeeze Sub Sum Tanh Transpose Unsqueeze""".split()
)


def write(folder, model, x, y):
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    x, y = numpy.array(x, order="C"), numpy.array(y, order="C")
    safetensors.numpy.save_file({"x": x}, folder / "input.safetensors")
    safetensors.numpy.save_file({"y": y}, folder / "expected.safetensors")


def array(value):
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def nodes(folder):
    for case in loader.load_model_tests(kind="node"):
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].op_type not in OPERATORS:
            continue
        inputs, outputs = case.data_sets[0]
        try:
            inputs, outputs = [array(x) for x in inputs], [array(y) for y in outputs]
            if inputs[0].dtype != numpy.float32:
                continue
            model = onnx.ModelProto()
            model.CopyFrom(case.model)
            del model.graph.input[1:]
            for value, x in zip(graph.input[1:], inputs[1:]):
                model.graph.initializer.append(numpy_helper.from_array(x, value.name))
            write(folder / case.name, model, inputs[0], outputs[0])
        except (AttributeError, IndexError):
            # Lists of tensors, nothing that is fed.
            continue
        yield case


def light(folder):
    data = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"
    for case in loader.load_model_tests(kind="real"):
        file = data / f"light_{case.name.removeprefix('test_')}.onnx"
        model = onnx.load(file)
        stored = {tensor.name for tensor in model.graph.initializer}
        fed = next(value for value in model.graph.input if value.name not in stored)
        x = runner.Runner.generate_dummy_data(fed)
        y = onnx.load_tensor(file.with_name(f"{file.stem}_output_0.pb"))
        write(folder / case.name, model, x, numpy_helper.to_array(y))
        yield case


folder = pathlib.Path(sys.argv[1])
cases = {"node": nodes, "light": light}[sys.argv[2]](folder)
listed = [{"name": case.name, "rtol": case.rtol, "atol": case.atol} for case in cases]
(folder / "cases.json").write_text(json.dumps(listed))
