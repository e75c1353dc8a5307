#!/bin/sh
# Which constant rate do FedAvg and FedProx get on the tasks of the tournament? One seed that
# nothing else uses, and validation data only. Plays them into DIR/race-pilot-TASK-RATE.
# Usage: experiments/evidence/race-pilot.sh DIR
set -eu
dir=$1
play() { # TASK RATE OPTION...
    out=$dir/race-pilot-$1-$2
    set -- "$@" --set "fedavg.learning_rate=$2" --set "fedprox.learning_rate=$2"
    shift 2
    python -m fedgen compare "$@" --out "$out" --jobs 2 --strategies fedavg,fedprox \
        --rounds 40 --seed 99 --set run.budget=client-epochs=1200
}
for rate in 1e-1 3e-2; do # pilot.sh has the others
    play contiguous $rate --dataset mnist --model mlp
    play dirichlet $rate --dataset mnist --model mlp \
        --set partition.kind=dirichlet --set partition.alpha=0.1
done
for rate in 1e-2 3e-3 1e-3 3e-4 1e-4; do
    play cifar-contiguous $rate --dataset cifar10 --model cnn-small \
        --set partition.min_samples=200 --set partition.max_samples=800
    play cifar-dirichlet $rate --dataset cifar10 --model cnn-small \
        --set partition.kind=dirichlet --set partition.alpha=0.5
done
for rate in 1e-1 3e-2 1e-2 3e-3 1e-3 3e-4 1e-4; do
    play natural $rate --dataset synthetic --model logistic --fraction 1.0 \
        --set partition.kind=natural
done
