#!/usr/bin/env bash
# copy.copy of a Keras layer is no shallow copy: the layer is written to a file and read back.
#
# Layers pickle by way of Keras' saving, which copy.copy uses as well. So a "copy" has weights of its
# own instead of the very variables; attributes that were set after construction are lost; and a
# weight that was frozen (kernel.trainable = False) is trained again. copy.copy of a model likewise
# has other layers.
#
# Seen with keras 3.15.1, jax 0.10.2, Python 3.11, on a CPU:
#   attribute kept: False, same kernel: False, kernel frozen: False, model has the same layer: False
# Exits with 0 while that is so, with 1 if it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 "jax[cpu]==0.10.2"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import copy
import sys

import keras

layer = keras.layers.Dense(4)
layer.build((None, 3))
layer.note = "set after construction"
layer.kernel.trainable = False
other = copy.copy(layer)
model = keras.Sequential([keras.Input((3,)), layer])
found = {
    "attribute kept": hasattr(other, "note"),
    "same kernel": other.kernel is layer.kernel,
    "kernel frozen": not other.kernel.trainable,
    "model has the same layer": copy.copy(model).layers[0] is layer,
}
print(", ".join(f"{name}: {value}" for name, value in found.items()))
holds = not any(found.values())
print("as described" if holds else "CHANGED")
sys.exit(not holds)
PYTHON
