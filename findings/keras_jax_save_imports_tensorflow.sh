#!/usr/bin/env bash
# On Keras' JAX back end, saving a model imports TensorFlow wherever it happens to be installed.
#
# Serialising a layer asks whether a value is one of TensorFlow's shapes, and to know whether
# TensorFlow is there Keras imports it. A process that has trained on JAX alone so pays for seconds
# of imports, some hundred megabytes, and TensorFlow's lines on stderr, at its first model.save().
# Where TensorFlow is not installed, the same file is written without it.
#
# Seen with keras 3.15.1, jax 0.10.2, tensorflow 2.21.0, Python 3.11, on two CPU cores:
#   imported after training: False, after saving: True
#   file without it: True; first save 1.646 s, second 0.004 s, first where it is hidden 0.007 s
# Exits with 0 while that is so, with 1 if it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 "jax[cpu]==0.10.2" tensorflow==2.21.0
cat > "$folder/save.py" <<'PYTHON'
import os
import sys
import time

if sys.argv[1] == "hidden":
    sys.modules["tensorflow"] = None
import keras
import numpy as np

os.chdir(sys.argv[2])
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
model.compile("sgd", "mse")
model.fit(np.ones((8, 3)), np.ones((8, 4)), verbose=0)
before = sys.modules.get("tensorflow") is not None
seconds = []
for _ in range(2):
    began = time.perf_counter()
    model.save("model.keras")
    seconds.append(time.perf_counter() - began)
after = sys.modules.get("tensorflow") is not None
print(before, after, os.path.exists("model.keras"), *(f"{s:.3f}" for s in seconds))
PYTHON
run() { KERAS_BACKEND=jax TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/save.py" "$1" "$folder" 2> /dev/null; }
read -r before after _ first second < <(run there)
read -r _ hidden written alone _ < <(run hidden)
echo "imported after training: $before, after saving: $after"
echo "file without it: $written; first save $first s, second $second s, first where it is hidden $alone s"
if [ "$before $after $hidden $written" = "False True False True" ]; then
    echo "as described"
else
    echo "CHANGED"
    exit 1
fi
