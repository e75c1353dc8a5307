#!/usr/bin/env bash
# TensorFlow never frees a traced function that was called by tf.raw_ops.StatefulPartitionedCall.
#
# In eager mode a traced function can be called by itself, or given to this operation as `f`. Called
# by itself, its optimised graph is freed with the last reference to it. Called by the operation, the
# kernel that holds the graph stays in the context's cache, whose key is the operation and not the
# function, for as long as the process lives.
#
# Seen with tensorflow 2.21.0, Python 3.11, on two CPU cores; graphs with 4 MB of constants each,
# memory after 40 of them less memory after 10:
#   called by itself: 0 MB, by StatefulPartitionedCall: 112 MB
# Exits with 0 while that is so, with 1 if it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0
cat > "$folder/call.py" <<'PYTHON'
import gc
import resource
import sys

import numpy as np
import tensorflow as tf


def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * resource.getpagesize() / 1e6


def traced(number):
    whole = np.full(1_000_000, number, np.float32)
    adding = tf.function(lambda x: x + tf.constant(whole), autograph=False)
    return adding.get_concrete_function(tf.TensorSpec([]))


sizes = []
for number in range(40):
    function, one = traced(number), tf.constant(1.0)
    if sys.argv[1] == "itself":
        result = function(one)
    else:
        result = tf.raw_ops.StatefulPartitionedCall(args=[one], Tout=[tf.float32], f=function)[0]
    assert float(result[0]) == number + 1
    del function, result
    gc.collect()
    sizes.append(resident())
print(round(sizes[-1] - sizes[9]))
PYTHON
run() { TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/call.py" "$1" 2> /dev/null; }
itself=$(run itself)
operation=$(run operation)
echo "called by itself: $itself MB, by StatefulPartitionedCall: $operation MB"
if [ "$itself" -lt 60 ] && [ "$operation" -gt 90 ]; then
    echo "as described"
else
    echo "CHANGED"
    exit 1
fi
