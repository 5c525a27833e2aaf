"""Saves odd things with PyTorch.

    python pytorch_odd.py DIRECTORY

In files that can be read, `fc.weight` is the numbers from 0 to 11 as a matrix of 3×4, and `fc.bias` is
−1, 0, 1.
"""

import collections
import pathlib
import sys

import torch
from safetensors.torch import save_file

here = pathlib.Path(sys.argv[1])
weight = torch.arange(12, dtype=torch.float32).reshape(3, 4)
bias = torch.tensor([-1.0, 0.0, 1.0])


def state(weight=weight, bias=bias, **more):
    return collections.OrderedDict({"fc.weight": weight, "fc.bias": bias, **more})


def save(name, what, **how):
    torch.save(what, here / name, **how)


def legacy(name, what):
    save(f"legacy_{name}", what, _use_new_zipfile_serialization=False)


# Strides and storages.
save("transposed.pth", state(weight.t().contiguous().t()))
around = torch.full((5, 9), 77.0)
around[1:4, 1:9:2] = weight
slices = state(around[1:4, 1:9:2], torch.tensor([9.0, -1.0, 0.0, 1.0])[1:])
save("slices.pth", slices)
legacy("slices.pth", slices)
save("expanded.pth", state(weight[0].clone().expand(3, 4)))
square = torch.arange(16, dtype=torch.float32).reshape(4, 4)
tied = {"one.weight": square, "one.bias": square[0]}
save("tied.pth", {**tied, "two.weight": square, "two.bias": square[1]})
save("counter.pth", state(**{"bn.num_batches_tracked": torch.tensor(7)}))

# Types.
save("double.pth", state(weight.double(), bias.double()))
legacy("double.pth", state(weight.double(), bias.double()))
save("half.pth", state(weight.half(), bias.half()))
save("bfloat16.pth", state(weight.bfloat16(), bias.bfloat16()))
types = [torch.uint8, torch.int16, torch.int32, torch.bool]
types += [torch.complex64, torch.complex128]
others = {str(dtype).split(".")[1]: torch.ones(2, dtype=dtype) for dtype in types}
int8 = torch.ones(2, 3, dtype=torch.int8)
save("types.pth", {**others, "int8": int8, "int64": torch.tensor(7)})
types = [torch.uint16, torch.float8_e4m3fn, torch.float8_e5m2]
others = {str(dtype).split(".")[1]: torch.ones(2).to(dtype) for dtype in types}
save("new_types.pth", others)

# Around the tensors.
parameters = state(torch.nn.Parameter(weight), torch.nn.Parameter(bias))
save("parameters.pth", parameters)
save("plain_dict.pth", dict(state()))
save("protocol4.pth", state(), pickle_protocol=4)
fc = torch.nn.Linear(4, 3)
fc.load_state_dict({"weight": weight, "bias": bias})
optimizer = torch.optim.AdamW(fc.parameters())
fc(torch.ones(1, 4)).sum().backward()
optimizer.zero_grad()
optimizer.step()
saved = {"model": state(), "optimizer": optimizer.state_dict(), "args": {"lr": 0.1}}
save("optimizer.pth", {**saved, "epoch": 3, "history": [0.5, None, (1, True)]})

# What is no dictionary of tensors.
save("module.pth", fc)
legacy("module.pth", fc)
save("tensor.pth", weight)
save("list.pth", [weight, bias])
save("quantized.pth", state(torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)))
save("sparse.pth", state(weight.to_sparse()))
torch.jit.save(torch.jit.script(fc), str(here / "script.pth"))


class Named(collections.OrderedDict):
    """A dictionary of somebody's own."""


save("subclass.pth", Named(state()))

# As a machine with such a device would.
torch.serialization.register_package(0, lambda storage: "cuda:0", lambda *_: None)
save("cuda.pth", state())
legacy("cuda.pth", state())

more = {"num_batches_tracked": torch.tensor(7)}
for name, dtype in (("f64", "float64"), ("f16", "float16"), ("bf16", "bfloat16")):
    dtype = getattr(torch, dtype)
    tensors = {"fc.weight": weight.to(dtype), "fc.bias": bias.to(dtype)}
    save_file(
        {**tensors, "bn.num_batches_tracked": torch.tensor(7)},
        here / f"{name}.safetensors",
    )
save_file(
    {
        "int64": torch.ones(2).long(),
        "float8_e4m3fn": torch.ones(2).to(torch.float8_e4m3fn),
    },
    here / "types.safetensors",
)
