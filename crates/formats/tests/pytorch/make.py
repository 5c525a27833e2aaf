"""Makes the files beside it: what PyTorch saves of a few small tensors, and the same as safetensors.

pip install torch safetensors numpy && python make.py
"""

import collections
import pathlib
import zipfile

import safetensors.torch
import torch

here = pathlib.Path(__file__).parent
shared = torch.arange(24, dtype=torch.float32)
state = collections.OrderedDict()
state["a.weight"] = shared[:12].reshape(3, 4)
state["a.bias"] = shared[12:15]
state["transposed"] = torch.arange(12.0).reshape(3, 4).t()
torch.manual_seed(1)
state["channels_last"] = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
state["half"] = torch.arange(5).half()
state["bfloat16"] = torch.arange(5).bfloat16()
state["double"] = torch.arange(5).double() / 3
state["num_batches_tracked"] = torch.tensor(7)
state["scalar"] = torch.tensor(0.5)
state["empty"] = torch.zeros(0, 3)
state["parameter"] = torch.nn.Parameter(torch.ones(2))
# As a module says what version of it saved them.
state._metadata = collections.OrderedDict([("", {"version": 1}), ("a", {"version": 1})])
torch.save(state, here / "state.pth")
contiguous = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
safetensors.torch.save_file(contiguous, here / "state.safetensors")
wrapped = {"module." + name: tensor for name, tensor in state.items()}
torch.save({"epoch": 3, "best": 0.5, "args": ["a", None, True], "state_dict": wrapped}, here / "checkpoint.pth")
torch.save(state, here / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(2, 2), here / "module.pth")
with zipfile.ZipFile(here / "state.pth") as stored:
    with zipfile.ZipFile(here / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as deflated:
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
