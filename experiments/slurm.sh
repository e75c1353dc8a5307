#!/usr/bin/env bash
# A run across a Slurm allocation: on a SuperLink with a SuperNode per task, or its arms on a Ray cluster.
#
#     sbatch --ntasks=10 experiments/slurm.sh flower "dataset='digits' rounds=10 out='/shared/runs/first'"
#     sbatch --nodes=4 --ntasks-per-node=1 --cpus-per-task=8 experiments/slurm.sh \
#         ray --dataset digits --rounds 10 --seeds 10 --out /shared/runs/second
#
# Submit it from a checkout of fedgen that all nodes see at the same place, with fedgen and its extra
# `simulation` in PYTHON's environment (`python` by default), and the data where all nodes see it.
# `flower` takes a run config (docs/runtimes.md), to which `clients` is added: the number of tasks.
# `ray` takes what `compare` does; a task is a Ray node, so there is one on each of Slurm's. INSIDE is
# put before each program, to run it in a container: INSIDE="apptainer exec --nv fedgen.sif".
# All that was started is stopped at the end, and the job ends with the run's exit status.
#SBATCH --job-name=fedgen
#SBATCH --ntasks=2
#SBATCH --no-requeue
set -euo pipefail

runtime=${1:-}
[ $# = 0 ] || shift
case $runtime-$# in
    flower-1 | ray-[1-9]*) ;;
    *) echo "usage: sbatch $0 flower RUN-CONFIG, or ray and what compare takes" >&2; exit 2 ;;
esac
cd "${SLURM_SUBMIT_DIR:?expected to be run by sbatch}"
if [ ! -f fedgen/server_app.py ]; then
    echo "$0: expected to be submitted from a checkout of fedgen, received $PWD" >&2
    exit 2
fi

read -ra inside <<< "${INSIDE:-}"
PATH=$(dirname "$(command -v "${PYTHON:-python}")"):$PATH
head=$(hostname) # the batch script runs on the first node of the allocation
port=$((20000 + SLURM_JOB_ID % 20000))
work=$(mktemp -d "$PWD/.slurm-$SLURM_JOB_ID.XXXXXX") # on the file system that the nodes share
started=()
stop() {
    trap '' INT TERM # one is enough
    for process in ${started[@]+"${started[@]}"}; do kill "$process" 2> /dev/null || true; done
    wait
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 143' INT TERM

export PATH PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export TF_ENABLE_ONEDNN_OPTS=1 KERAS_BACKEND="${KERAS_BACKEND:-tensorflow}"
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 FLWR_TELEMETRY_ENABLED=0
export FLWR_DISABLE_UPDATE_CHECK=1 RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
export work head port

in_background() { "${inside[@]}" "$@" & started+=($!); }

play_on_flower() {
    mkdir "$work/flower"
    export FLWR_HOME=$work/flower
    printf '[superlink.fedgen]\naddress = "%s:%s"\nroot-certificates = "%s"\n' \
        "$head" "$port" "$work/keys/public/ca.pem" > "$FLWR_HOME/config.toml"
    "${inside[@]}" python -m fedgen.deployment.credentials "$work/keys" "$head" "$SLURM_NTASKS"
    in_background flower-superlink --host 0.0.0.0 --port "$port" --enable-supernode-auth \
        --ssl-ca-certfile "$work/keys/server/ca.pem" --ssl-certfile "$work/keys/server/server.pem" \
        --ssl-keyfile "$work/keys/server/server.key" --disable-runtime-dependency-installation \
        > "$work/superlink.log" 2>&1
    "${inside[@]}" python -m fedgen.deployment.superlink register "$work"/keys/public/*.pub
    # shellcheck disable=SC2016 # it is the tasks' shells that know their rank
    srun --kill-on-bad-exit=0 --output "$work/supernode-%t.log" "${inside[@]}" sh -c '
        export FLWR_HOME="$work/flower-$SLURM_PROCID"
        exec flower-supernode --superlink "$head:$port" --root-certificates "$work/keys/public/ca.pem" \
            --auth-supernode-private-key "$work/keys/nodes/node-$SLURM_PROCID" \
            --port $((port + 1 + SLURM_PROCID)) \
            --node-config "partition-id=$SLURM_PROCID num-partitions=$SLURM_NTASKS"' &
    started+=($!)
    "${inside[@]}" python -m fedgen.deployment.superlink run "$1 clients=$SLURM_NTASKS"
}

play_on_ray() {
    local cores=${SLURM_CPUS_PER_TASK:-1}
    RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
    export RAY_AUTH_MODE=token RAY_AUTH_TOKEN cores
    # shellcheck disable=SC2016
    srun --kill-on-bad-exit=0 --output "$work/ray-%t.log" "${inside[@]}" sh -c '
        if [ "$SLURM_PROCID" = 0 ]; then
            exec ray start --head --port "$port" --num-cpus "$cores" --include-dashboard=false --block
        fi
        exec ray start --address "$head:$port" --num-cpus "$cores" --block' &
    started+=($!)
    until "${inside[@]}" ray health-check --address "$head:$port" 2> /dev/null; do
        kill -0 "${started[0]}" || { cat "$work"/ray-*.log >&2; exit 3; }
        sleep 2
    done
    "${inside[@]}" python -m fedgen compare --ray "$head:$port" "$@"
}

"play_on_$runtime" "$@"
