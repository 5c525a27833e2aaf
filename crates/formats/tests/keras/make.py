"""Wrote the files beside it, with Keras 3.15: one small model in every format, its weights as this
project has them, and a smaller one for damage."""

import zipfile

import h5py
import keras
import numpy as np
from keras import layers
from keras.src.legacy.saving import legacy_h5_format
from safetensors.numpy import save_file

rng = np.random.default_rng(1)


def drawn(model):
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


model = drawn(
    keras.Sequential(
        [
            keras.Input((4, 5, 2)),
            layers.Conv2D(3, (3, 2), name="c1"),
            layers.BatchNormalization(scale=False),
            layers.DepthwiseConv2D((1, 2), depth_multiplier=2, name="d1"),
            layers.ReLU(),
            layers.Flatten(),
            layers.BatchNormalization(name="bn"),
            layers.Dense(4, name="fc"),
        ]
    )
)
c1, bn, d1, _, _, flat, fc = [[np.array(w) for w in layer.weights] for layer in model.layers]
# A row of the flattened map, 2×3×6 channels last, is channels first here.
order = np.arange(36).reshape(2, 3, 6).transpose(2, 0, 1).ravel()
expected = {
    "c1.weight": c1[0].transpose(3, 2, 0, 1),
    "c1.bias": c1[1],
    "bn1.bias": bn[0],
    "bn1.running_mean": bn[1],
    "bn1.running_var": bn[2],
    "d1.weight": d1[0].transpose(2, 3, 0, 1).reshape(6, 1, 1, 2),
    "d1.bias": d1[1],
    "bn.weight": flat[0][order],
    "bn.bias": flat[1][order],
    "bn.running_mean": flat[2][order],
    "bn.running_var": flat[3][order],
    "fc.weight": fc[0][order].T,
    "fc.bias": fc[1],
}
save_file({name: np.ascontiguousarray(value) for name, value in expected.items()}, "expected.safetensors")

model.save_weights("model.weights.h5")
model.save("model.keras")
model.save("whole.h5")
with h5py.File("legacy.h5", "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, model)
with zipfile.ZipFile("model.keras") as old:
    with zipfile.ZipFile("deflated.keras", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def copy(source, target, **how):
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            copy(item, target.create_group(name), **how)
        else:
            target.create_dataset(name, data=item[()], **how)


# Newer structures, chunks, and no names of layers.
with h5py.File("model.weights.h5") as old, h5py.File("chunked.weights.h5", "w", libver="latest") as new:
    copy(old, new, chunks=True, compression="gzip", shuffle=True, fletcher32=True)

tiny = drawn(keras.Sequential([keras.Input((2,)), layers.Dense(3, name="fc")]))
tiny.save_weights("tiny.weights.h5")
tiny.save("tiny.keras")
with h5py.File("tiny.h5", "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, tiny)
with h5py.File("tiny.weights.h5") as old, h5py.File("tiny_chunked.weights.h5", "w", libver="latest") as new:
    for name in ("0", "1"):
        item = old[f"layers/dense/vars/{name}"]
        new.create_dataset(item.name, data=item[()], chunks=True, compression="gzip")

# A group that holds itself.
with h5py.File("loop.weights.h5", "w") as file:
    inside = file.create_group("layers/dense/vars")
    inside["again"] = file["layers"]
