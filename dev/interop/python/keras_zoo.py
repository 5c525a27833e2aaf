"""Networks of keras.applications with random weights: saves them in every format of Keras's, with
an input and the logits it gives.

    python keras_zoo.py DIRECTORY APPLICATION HEIGHT WIDTH FORMAT...

writes DIRECTORY/values.safetensors (`input` N×C×H×W, `logits`) and one file a format:

    weights   model.weights.h5, as Keras 3 has it
    nameless  nameless.weights.h5, the same without the names of the layers, as Keras 3.0 had it
    chunked   chunked.weights.h5, the same compressed piece by piece
    legacy    legacy.h5, the weights of the model in one group a layer, as Keras 2 had it
    whole     whole.h5, the legacy format of a whole model
    keras     model.keras
    deflated  deflated.keras, the same compressed
"""

import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format
from safetensors.numpy import save_file

CLASSES = 10


def values(variable, rng):
    """Such that the activations neither die nor explode, and no two tensors are alike."""
    shape, kind = variable.shape, variable.path.rsplit("/", 1)[-1]
    if kind == "kernel":
        deviation = 0.8 * np.sqrt(2.0 / np.prod(shape[:-1]))
        return deviation * rng.standard_normal(shape)
    if kind in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, shape)
    return rng.uniform(-0.2, 0.2, shape)


def copy(source, target, dataset):
    """Copies groups without attributes, and datasets by `dataset(name, values, group)`."""
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            copy(item, target.create_group(name), dataset)
        else:
            dataset(name, item, target)


def save(model, directory, format):
    weights = directory / "model.weights.h5"
    if format == "weights":
        model.save_weights(weights)
    elif format == "nameless":
        with h5py.File(weights) as old, h5py.File(directory / "nameless.weights.h5", "w") as new:
            copy(old, new, lambda name, item, group: group.create_dataset(name, data=item[()]))
    elif format == "chunked":

        def compressed(name, item, group):
            group.create_dataset(
                name, data=item[()], chunks=True, compression="gzip", compression_opts=1, shuffle=True
            )

        with h5py.File(weights) as old, h5py.File(directory / "chunked.weights.h5", "w") as new:
            copy(old, new, compressed)
    elif format == "legacy":
        with h5py.File(directory / "legacy.h5", "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    elif format == "whole":
        model.save(directory / "whole.h5")
    elif format == "keras":
        model.save(directory / "model.keras")
    elif format == "deflated":
        with zipfile.ZipFile(directory / "model.keras") as old:
            with zipfile.ZipFile(
                directory / "deflated.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=1
            ) as new:
                for name in old.namelist():
                    with old.open(name) as source, new.open(name, "w") as target:
                        shutil.copyfileobj(source, target)
    else:
        raise ValueError(format)


def main():
    directory, application, *size = sys.argv[1:5]
    directory, size = Path(directory), [int(extent) for extent in size]
    rng = np.random.default_rng(7)
    # A model before this one: Keras counts the layers without a name on.
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()])
    model = getattr(keras.applications, application)(
        weights=None, input_shape=(*size, 3), classes=CLASSES, classifier_activation=None
    )
    for variable in model.weights:
        variable.assign(values(variable, rng))
    images = rng.uniform(-1, 1, (2, *size, 3)).astype(np.float32)
    logits = np.asarray(model(images, training=False))
    tensors = {"input": np.ascontiguousarray(images.transpose(0, 3, 1, 2)), "logits": logits}
    save_file(tensors, directory / "values.safetensors")
    for format in sys.argv[5:]:
        save(model, directory, format)


main()
