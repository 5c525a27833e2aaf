"""Networks of torchvision, timm and Keras as their own exporters write them as ONNX.

Arguments: a folder, and the name of a network with its exporter (`resnet18 script`). The folder gets
model.onnx, input.safetensors (`x`) and output.safetensors, each output under its name as ONNX Runtime
computes it.
"""

import pathlib
import sys
import warnings

import numpy
import onnxruntime
import safetensors.numpy

warnings.filterwarnings("ignore")

# What a network is called, and the side of its pictures.
TORCHVISION = {
    "alexnet": 224,
    "vgg11": 224,
    "vgg11_bn": 224,
    "squeezenet1_0": 96,
    "squeezenet1_1": 96,
    "googlenet": 96,
    "inception_v3": 128,
    "resnet18": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "densenet121": 64,
}
TIMM = {"resnet18d": 64, "inception_v4": 128, "resnetv2_50": 64}


def of_2012(nn):
    """Local response normalisation, over odd and even numbers of channels, and what examples end in."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 5, stride=2),
        nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=0.1, k=2),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(24, 40, 3, padding=1),
        nn.ReLU6(),
        nn.LocalResponseNorm(4, alpha=0.2, beta=0.5),
        nn.Hardtanh(0.2, 0.9),
        nn.Flatten(),
        nn.Linear(40 * 6 * 6, 10),
        nn.LogSoftmax(1),
    )


def torch_network(name):
    import torch

    torch.manual_seed(1)
    if name.startswith("timm_"):
        import timm

        network = timm.create_model(name.removeprefix("timm_"), pretrained=False)
        side = TIMM[name.removeprefix("timm_")]
    elif name == "of_2012":
        network, side = of_2012(torch.nn), 32
    else:
        import torchvision

        more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network = getattr(torchvision.models, name)(weights=None, **more)
        side = TORCHVISION[name]
    # Statistics that are none by habit.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.1, 0.1)
    return network.eval(), torch.randn(2, 3, side, side)


def export_torch(name, exporter, path):
    import torch

    network, x = torch_network(name)
    if exporter == "script":
        torch.onnx.export(
            network,
            x,
            path,
            dynamo=False,
            opset_version=13,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch"}},
        )
    elif exporter == "script_plain":
        # As it stands in the network: nothing folded.
        torch.onnx.export(
            network,
            x,
            path,
            dynamo=False,
            opset_version=9,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    else:
        torch.onnx.export(network, (x,), path, dynamo=True, verbose=False)
    return x.numpy()


def export_keras(name, path):
    import keras

    keras.utils.set_random_seed(1)
    network = getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3))
    x = numpy.random.default_rng(1).standard_normal((2, 96, 96, 3), dtype="float32")
    network(x)
    network.export(path, format="onnx", verbose=False)
    return x


folder, name, exporter = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
path = str(folder / "model.onnx")
x = export_keras(name, path) if exporter == "keras" else export_torch(name, exporter, path)
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
values = session.run(names, {session.get_inputs()[0].name: x})
values = {name: numpy.ascontiguousarray(y) for name, y in zip(names, values)}
safetensors.numpy.save_file({"x": numpy.ascontiguousarray(x)}, folder / "input.safetensors")
safetensors.numpy.save_file(values, folder / "output.safetensors")
