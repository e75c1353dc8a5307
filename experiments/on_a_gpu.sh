#!/usr/bin/env bash
# All that wants a GPU, in one go, on a machine without a network: checks, benchmark, main experiment.
#
#     experiments/on_a_gpu.sh WHEELS DATA OUT [SECONDS]
#
# WHEELS holds what fedgen needs beside JAX, which the machine's own Python has; DATA holds CIFAR-10
# as FEDGEN_DATA_DIR does, and reference.npz, which `cd tests && python -m parity reference.npz` writes
# where TensorFlow is. JSON and the rows of every finished round are left in OUT. The experiment
# plays seeds until SECONDS (300) are over; an unfinished one loses its round in progress.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 WHEELS DATA OUT [SECONDS]" >&2; exit 2; }
wheels=$(realpath "$1") data=$(realpath "$2") out=$(realpath "$3") seconds=${4:-300}
cd "$(dirname "$0")/.."
export FEDGEN_DATA_DIR=$data FEDGEN_REQUIRE_GPU=1

venv=$(mktemp -d)/venv
python3 -m venv --system-site-packages "$venv"
"$venv/bin/pip" install --quiet --no-index --no-deps "$wheels"/*.whl
python=$venv/bin/python
export PYTHONPATH=$PWD

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$out/device.txt" || true
timeout 120 "$python" -m benchmarks.gpu_checks --json --reference "$data/reference.npz" \
    > "$out/checks.json" || echo "checks: exit code $?" | tee -a "$out/device.txt"
timeout 240 "$python" -m benchmarks.gpu --json > "$out/benchmark.json" \
    || echo "benchmark: exit code $?" | tee -a "$out/device.txt"
timeout --signal=INT "$seconds" "$python" -m fedgen compare --dataset cifar10 --rounds 10 --seeds 10 \
    --engine jax --set training.precision=bfloat16 --out "$out/run" --quiet \
    || echo "experiment: exit code $?" | tee -a "$out/device.txt"
for name in rounds.csv clients.csv config.toml; do
    cp "$out/run/$name" "$out/" || true
done
rm -rf "$out/run"
