"""Networks of keras.applications with random weights, saved in every format of Keras's, and loaded
again.

For each line of input, a step of one network:

    save APPLICATION HEIGHT WIDTH FORMATS FOLDER
             makes it and saves it in formats, with commas between them; values.safetensors has an
             `input` (N×C×H×W) and the `logits` that it gives
    back FOLDER
             loads the weights written by this project, back.weights.h5, into what the step before
             made: equal to the bit

    weights   model.weights.h5, as Keras 3 has it
    nameless  nameless.weights.h5, the same without the names of the layers, as Keras 3.0 had it
    chunked   chunked.weights.h5, the same compressed piece by piece
    legacy    legacy.h5, the weights of the model in one group a layer, as Keras 2 had it
    whole     whole.h5, the legacy format of a whole model
    keras     model.keras
    deflated  deflated.keras, the same compressed

Answers `ok`, or what went wrong, on one line.
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
        with h5py.File(weights) as old, h5py.File(
            directory / "nameless.weights.h5", "w"
        ) as new:
            copy(
                old,
                new,
                lambda name, item, group: group.create_dataset(name, data=item[()]),
            )
    elif format == "chunked":

        def compressed(name, item, group):
            group.create_dataset(
                name,
                data=item[()],
                chunks=True,
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )

        with h5py.File(weights) as old, h5py.File(
            directory / "chunked.weights.h5", "w"
        ) as new:
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


# What is drawn here is replaced, and drawing takes longer than the rest.
keras.initializers.GlorotUniform.__call__ = keras.initializers.Zeros.__call__


def make(application, height, width, formats, directory):
    global model
    rng = np.random.default_rng(7)
    size = (int(height), int(width))
    model = getattr(keras.applications, application)(
        weights=None,
        input_shape=(*size, 3),
        classes=CLASSES,
        classifier_activation=None,
    )
    for variable in model.weights:
        variable.assign(values(variable, rng))
    images = rng.uniform(-1, 1, (2, *size, 3)).astype(np.float32)
    logits = np.asarray(model(images, training=False))
    tensors = {
        "input": np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
        "logits": logits,
    }
    save_file(tensors, directory / "values.safetensors")
    for format in formats.split(","):
        save(model, directory, format)


def back(directory):
    theirs = [np.array(variable) for variable in model.weights]
    for variable in model.weights:
        variable.assign(np.zeros(variable.shape))
    model.load_weights(directory / "back.weights.h5")
    for variable, expected in zip(model.weights, theirs):
        if np.array(variable).tobytes() != expected.tobytes():
            raise ValueError(f"{variable.path} is not what it was")


for line in sys.stdin:
    step, *arguments, folder = line.split()
    try:
        {"save": make, "back": back}[step](*arguments, Path(folder))
        print("ok", flush=True)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(text[:300], flush=True)
