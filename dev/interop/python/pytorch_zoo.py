"""Networks of torchvision, timm and pretrainedmodels, with random weights and statistics, as torch.save writes them.

For each line of input, a step of one network:

    save LIBRARY NAME SPELLING HEIGHT WIDTH FOLDER
             makes it; writes theirs.pth in a spelling below, and values.safetensors: `input`, and the
             `logits` that it gives
    back FOLDER
             loads ours.pth, strictly, into what the step before made: equal to the bit

    plain     the state_dict
    legacy    in the layout of before PyTorch 1.6
    parallel  behind `module.`, as DataParallel has it
    half, bfloat16
             in that type, to which the weights are rounded first
    training  a checkpoint: optimizer, epoch, and the weights under `state_dict`

Answers `ok`, or what went wrong, on one line.
"""

import pathlib
import sys

import pretrainedmodels
import safetensors.numpy
import timm
import torch
import torchvision

# What is drawn here is replaced, and drawing takes longer than the rest.
for name in dir(torch.nn.init):
    if name.endswith("_") and not name.startswith("_"):
        setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)


def made(library, name):
    torch.manual_seed(7)
    if library == "timm":
        model = timm.create_model(name)
    elif library == "pretrainedmodels":
        model = getattr(pretrainedmodels, name.replace("_", ""))(pretrained=None)
    else:
        model = torchvision.models.get_model(name, weights=None)
    for name, value in model.state_dict().items():
        leaf = name.rsplit(".", 1)[-1]
        if leaf == "num_batches_tracked":
            value.random_(1, 1000)
        elif value.dim() > 1:
            value.normal_(0, 0.8 * (2 / value[0].numel()) ** 0.5)
        elif leaf in ("weight", "running_var"):
            value.uniform_(0.5, 1.5)
        else:
            value.uniform_(-0.2, 0.2)
    return model.eval()


def spelled(model, spelling):
    """What is saved, and how."""
    if spelling == "parallel":
        return torch.nn.DataParallel(model).state_dict(), {}
    if spelling in ("half", "bfloat16"):
        dtype = getattr(torch, "float16" if spelling == "half" else spelling)
        state = model.to(dtype).state_dict()
        state = {name: value.clone() for name, value in state.items()}
        model.float()
        return state, {}
    if spelling == "training":
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        state = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
        return {"epoch": 90, "best_acc1": 76.13, **state}, {}
    legacy = {"_use_new_zipfile_serialization": False} if spelling == "legacy" else {}
    return model.state_dict(), legacy


def save(library, name, spelling, height, width, folder):
    global model
    model = None
    model = made(library, name)
    state, how = spelled(model, spelling)
    torch.save(state, folder / "theirs.pth", **how)
    x = torch.randn(1, 3, int(height), int(width))
    with torch.no_grad():
        logits = model(x)
    values = {"input": x.numpy(), "logits": logits.numpy()}
    safetensors.numpy.save_file(values, folder / "values.safetensors")


def back(folder):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for value in model.state_dict().values():
        value.zero_()
    state = torch.load(folder / "ours.pth", weights_only=True)
    model.load_state_dict(state, strict=True)
    for name, value in model.state_dict().items():
        same = value.numpy().tobytes() == before[name].numpy().tobytes()
        if value.is_floating_point() and not same:
            raise ValueError(f"{name} is not what it was")


for line in sys.stdin:
    step, *arguments, folder = line.split()
    try:
        {"save": save, "back": back}[step](*arguments, pathlib.Path(folder))
        print("ok", flush=True)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(text[:300], flush=True)
