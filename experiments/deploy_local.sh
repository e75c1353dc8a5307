#!/usr/bin/env bash
# Play a run on a SuperLink and a SuperNode per client, all on 127.0.0.1, with TLS and
# node authentication:
#
#     experiments/deploy_local.sh "dataset='digits' rounds=3 clients=4 fraction=1.0"
#
# The argument is in --run-config form; its keys are in pyproject.toml, [tool.flwr.app.config].
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh" deploy "$@"
