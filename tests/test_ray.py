"""Flower's Ray runtime computes the same bytes as the in-process grid."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedgen import arms, client_app, models, world
from fedgen.config import Arm, build
from fedgen.grid import InProcessGrid
from fedgen.optimizers import Weights
from fedgen.runconfig import to_run_config

pytest.importorskip("ray", reason="needs the extra `simulation`, which installs Ray")

CLIENTS, ROUNDS = 2, 2


@pytest.mark.filterwarnings("ignore")
def test_two_clients_on_ray_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flwr.simulation import run_simulation

    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    # Ray starts its workers at the lowest priority: on a busy machine they never come up.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    arm = Arm(
        build(
            {
                "data": {"dataset": "digits"},
                "partition": {"clients": CLIENTS},
                "cohort": {"fraction": 1.0},
                "training": {"local_epochs": 1},
            }
        ),
        "genetic-cfl",
        0,
    )
    run_config = to_run_config(arm.config)
    initial = models.get_weights(world.initial_model(arm.config, 0))
    on_ray: list[Weights] = []
    server, client = ServerApp(), ClientApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        on_ray.append(play(arm, grid, initial))

    def handle(message: Message, context: Context) -> Message:
        # `flwr run` would have put the run config there.
        parts = (context.run_id, context.node_id, context.node_config, context.state)
        return client_app.app(message, Context(*parts, run_config))

    client.query()(handle)
    client.train()(handle)
    resources = {"num_cpus": 1, "num_gpus": 0.0}
    run_simulation(server, client, CLIENTS, backend_config={"client_resources": resources})

    grid = InProcessGrid(client_app.app, run_config, clients=CLIENTS, workers=2)
    here = play(arm, grid, initial)
    grid.close()
    assert len(on_ray) == 1
    assert any(not np.array_equal(a, b) for a, b in zip(here, initial, strict=True))
    assert [a.tobytes() for a in here] == [b.tobytes() for b in on_ray[0]]


def play(arm: Arm, grid: Grid, weights: Weights) -> Weights:
    strategy = arms.build_strategy(arm)
    strategy.query_timeout = 300.0
    arrays = ArrayRecord(weights)
    for number in range(1, ROUNDS + 1):
        messages = strategy.configure_train(number, arrays, ConfigRecord(), grid)
        arrays, _ = strategy.aggregate_train(number, grid.send_and_receive(messages))
    return arrays.to_numpy_ndarrays()
