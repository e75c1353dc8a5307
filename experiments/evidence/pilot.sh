#!/bin/sh
# Plays pilot.toml at five rates on both partitions, into DIR/PARTITION-RATE.
# Usage: experiments/evidence/pilot.sh DIR
set -eu
here=$(dirname "$0")
for partition in contiguous dirichlet; do
    for rate in 1e-2 3e-3 1e-3 3e-4 1e-4; do
        set -- "$1" --set partition.kind=$partition --set partition.alpha=0.1
        for name in fedavg fedavg-decay fedavgm fedadam fedyogi fednova fedprox ifca; do
            set -- "$@" --set "$name.learning_rate=$rate"
        done
        sgd=$(python -c "print(100 * $rate)") # SCAFFOLD takes plain SGD steps
        out=$1/$partition-$rate
        shift
        python -m fedgen compare "$here/pilot.toml" --jobs 2 --out "$out" "$@" \
            --set "scaffold.learning_rate=$sgd"
        set -- "${out%/*}"
    done
done
