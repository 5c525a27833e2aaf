"""Loads weights that this project wrote into a network of keras.applications.

    python keras_back.py DIRECTORY APPLICATION HEIGHT WIDTH

DIRECTORY holds what keras_zoo.py made (`values.safetensors`, `model.weights.h5`) and the same weights
written here, `back.weights.h5`: every variable must be equal to the bit. Writes
DIRECTORY/back.safetensors (`logits`).
"""

import sys
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import load_file, save_file


def main():
    directory, application, *size = sys.argv[1:]
    directory = Path(directory)
    values = load_file(directory / "values.safetensors")
    model = getattr(keras.applications, application)(
        weights=None,
        input_shape=(*map(int, size), 3),
        classes=values["logits"].shape[1],
        classifier_activation=None,
    )
    model.load_weights(directory / "model.weights.h5")
    theirs = [np.array(variable) for variable in model.weights]
    for variable in model.weights:
        variable.assign(np.zeros(variable.shape))
    model.load_weights(directory / "back.weights.h5")
    for variable, expected in zip(model.weights, theirs):
        assert np.array_equal(np.array(variable), expected), variable.path
    images = np.ascontiguousarray(values["input"].transpose(0, 2, 3, 1))
    save_file({"logits": np.asarray(model(images, training=False))}, directory / "back.safetensors")


main()
