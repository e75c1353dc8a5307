#!/usr/bin/env bash
# With a seeded initialiser, Keras' MultiHeadAttention starts query, key and value from one matrix.
#
# The layer makes its projections with copies of the initialiser that it was given. One with an
# integer seed draws the same numbers every time, by design; so all three kernels, of one shape, are
# the same, and a query scores highest where it meets itself. A keras.random.SeedGenerator as the
# seed, which elsewhere moves on with every draw, does not help: the copies begin where it began.
# Only an initialiser without a seed, under keras.utils.set_random_seed, starts them apart.
#
# Seen with keras 3.15.1, jax 0.10.2, Python 3.11, on two CPU cores:
#   integer seed: query = key: True, key = value: True
#   no seed: query = key: False; seed generator: query = key: True
# Exits with 0 while that is so, with 1 if it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 "jax[cpu]==0.10.2"
cat > "$folder/attention.py" <<'PYTHON'
import keras
import numpy as np


def kernels(seed):
    start = keras.initializers.GlorotUniform(seed=seed)
    layer = keras.layers.MultiHeadAttention(2, 4, kernel_initializer=start)
    layer.build((None, 3, 8), (None, 3, 8))
    parts = (layer.query_dense, layer.key_dense, layer.value_dense)
    return [np.asarray(part.kernel) for part in parts]


def same(one, other):
    return bool((one == other).all())


query, key, value = kernels(7)
print(same(query, key), same(key, value), end=" ")
print(*(same(*kernels(s)[:2]) for s in (None, keras.random.SeedGenerator(7))))
PYTHON
read -r first second unseeded generator < <(
    KERAS_BACKEND=jax "$folder/venv/bin/python" "$folder/attention.py" 2> /dev/null
)
echo "integer seed: query = key: $first, key = value: $second"
echo "no seed: query = key: $unseeded; seed generator: query = key: $generator"
if [ "$first $second $unseeded $generator" = "True True False True" ]; then
    echo "as described"
else
    echo "CHANGED"
    exit 1
fi
