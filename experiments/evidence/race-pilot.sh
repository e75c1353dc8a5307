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
skewed="--set partition.kind=dirichlet --set partition.alpha"
mnist() { # SUFFIX RATE OPTION...
    suffix=$1 rate=$2
    shift 2
    play contiguous$suffix $rate --dataset mnist --model mlp "$@"
    play dirichlet$suffix $rate --dataset mnist --model mlp $skewed=0.1 "$@"
}
cifar() {
    suffix=$1 rate=$2
    shift 2
    play cifar-contiguous$suffix $rate --dataset cifar10 --model cnn-small \
        --set partition.min_samples=200 --set partition.max_samples=800 "$@"
    play cifar-dirichlet$suffix $rate --dataset cifar10 --model cnn-small $skewed=0.5 "$@"
}
natural() {
    suffix=$1 rate=$2
    shift 2
    play natural$suffix $rate --dataset synthetic --model logistic --fraction 1.0 \
        --set partition.kind=natural "$@"
}
for rate in 1e-1 3e-2; do mnist "" $rate; done # pilot.sh has the others
for rate in 1e-2 3e-3 1e-3 3e-4 1e-4; do cifar "" $rate; done
for rate in 1e-1 3e-2 1e-2 3e-3 1e-3 3e-4 1e-4; do natural "" $rate; done
momentum="--set training.optimizer=sgd --set training.momentum=0.9"
for rate in 3e-1 1e-1 3e-2 1e-2 3e-3; do
    for task in mnist cifar natural; do $task -momentum $rate $momentum; done
done
