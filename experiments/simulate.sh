#!/usr/bin/env bash
# Play a run on Flower's simulation runtime (Ray), with a node per client:
#
#     experiments/simulate.sh "dataset='digits' rounds=3 clients=10"
#
# The argument is in --run-config form; its keys are in pyproject.toml, [tool.flwr.app.config].
# With RAY_ADDRESS set it uses that Ray cluster. Needs the extra `simulation`.
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh" simulate "$@"
