"""What OpenCV makes of a network that is there as Caffe has it.

python caffe_run.py DIRECTORY

Reads net.prototxt, net.caffemodel and `input` of input.safetensors; writes `logits` to logits.safetensors.
"""

import pathlib
import sys

import cv2
from safetensors.numpy import load_file, save_file

here = pathlib.Path(sys.argv[1])
net = cv2.dnn.readNetFromCaffe(str(here / "net.prototxt"), str(here / "net.caffemodel"))
net.setInput(load_file(here / "input.safetensors")["input"])
save_file({"logits": net.forward().reshape(1, -1).copy()}, here / "logits.safetensors")
