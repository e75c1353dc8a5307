#!/usr/bin/env bash
# All that wants a GPU, in one go, on a machine without a network: benchmark, checks, main experiment.
#
#     experiments/on_a_gpu.sh WHEELS DATA OUT [SECONDS]
#
# WHEELS holds what fedgen needs beside JAX, which the machine's own Python has. DATA may hold
# CIFAR-10 as FEDGEN_DATA_DIR does, and reference.npz, which `PYTHONPATH=tests python -m parity FILE`
# writes where TensorFlow is. It ends within SECONDS (570): the benchmark comes first, and times
# `compare` on random pixels where CIFAR-10 is not there; the experiment has what is left, and ends
# in the middle of a seed. Every figure is in OUT as soon as it is known, rows and checkpoints of the
# experiment are at the end.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 WHEELS DATA OUT [SECONDS]" >&2; exit 2; }
wheels=$(realpath "$1") data=$(realpath "$2") out=$(realpath "$3") seconds=${4:-570}
cd "$(dirname "$0")/.."
export FEDGEN_REQUIRE_GPU=${FEDGEN_REQUIRE_GPU:-1} PYTHONUNBUFFERED=1  # 0 to rehearse it on a CPU
[ -f "$data/cifar10.npz" ] && export FEDGEN_DATA_DIR=$data

# Beside what is there, as a virtual environment in another one does not see its packages.
work=$(mktemp -d)
python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$work/site" "$wheels"/*.whl
export PYTHONPATH=$work/site:$PWD

# Runs a command for so many seconds at most, and not beyond the end.
within() {
    local left=$((seconds - SECONDS - 20)) most=$1
    shift
    [ "$left" -ge 10 ] || { echo "no time left for: $*" | tee -a "$out/device.txt"; return 0; }
    timeout --kill-after=15 "$((left < most ? left : most))" "$@" \
        || echo "exit code $?: $*" | tee -a "$out/device.txt"
}

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$out/device.txt" || true
within 300 python3 -m benchmarks.gpu --json > "$out/benchmark.json" 2> "$out/benchmark.txt"
reference=()
[ -f "$data/reference.npz" ] && reference=(--reference "$data/reference.npz")
within 240 python3 -m benchmarks.gpu_checks --json "${reference[@]}" > "$out/checks.json" 2> "$out/checks.txt"
if [ -n "${FEDGEN_DATA_DIR:-}" ]; then
    within "$seconds" python3 -m fedgen compare --dataset cifar10 --rounds 10 --seeds 10 \
        --engine jax --set training.precision=bfloat16 --out "$work/run" --quiet
    tar -czf "$out/run.tar.gz" -C "$work" --exclude='*.npz' --exclude='*.keras' run || true
fi
rm -rf "$work"
