"""Small shards with recognisable contents."""

from pathlib import Path
from typing import Any

import numpy as np

from fedgen.config.tree import Arm, Config
from fedgen.runs.checkpoints import Checkpoint
from fedgen.runs.rows import ClientRow, RoundRow
from fedgen.runs.shard import Shard

MADE_WITH = {"training.local_epochs": 2, "provenance.numpy": "2.4.6"}


def arm(strategy: str = "fedavg", seed: int = 0) -> Arm:
    return Arm(Config(), strategy, seed)


def round_row(number: int, strategy: str = "fedavg", seed: int = 0) -> RoundRow:
    return RoundRow(
        strategy, seed, number, 0.1, float("inf"), 0.3, 0.4, None, 2, 0, 0, 4, 8, 1, 1, 1 / 3
    )


def client_row(number: int, client: int, strategy: str = "fedavg", seed: int = 0) -> ClientRow:
    genes: tuple[Any, ...] = (None, 1e-4, 32, 1e-4, 32, 0.5, None, 8, "fixed", None, None, None)
    return ClientRow(strategy, seed, number, client, *genes, 'rejected: "a",\nb', 0.25)


def checkpoint(number: int) -> Checkpoint:
    draw = np.random.default_rng(number)
    return Checkpoint(
        round=number,
        weights=[
            draw.normal(size=(3, 2)).astype(np.float32),
            np.array(np.nan),
            np.zeros((0, 2), np.float16),
        ],
        state={"losses": {"3": 0.1 + 0.2, "4": float("inf")}, "clusters": [-1, 0], "é": None},
        arrays=[np.arange(number, dtype=np.int64)],
    )


def commit(shard: Shard, number: int) -> None:
    strategy, _, seed = shard.folder.name.rpartition("-seed")
    shard.commit(
        checkpoint(number),
        [round_row(number, strategy, int(seed))],
        [client_row(number, client, strategy, int(seed)) for client in (0, 7)],
        MADE_WITH,
    )


def silent(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


def reopen(run: Path, warn: Any = silent) -> tuple[Shard, Checkpoint | None]:
    shard = Shard(run, arm())
    return shard, shard.open(warn)


def new_shard(run: Path, rounds: int, which: Arm | None = None) -> Shard:
    """A shard with so many committed rounds, the first one round 0."""
    shard = Shard(run, which or arm())
    with shard.owned():
        shard.open(silent)
        for number in range(rounds):
            commit(shard, number)
    return shard


def assert_same(received: Checkpoint | None, expected: Checkpoint) -> None:
    assert received is not None
    assert (received.round, received.state) == (expected.round, expected.state)
    for mine, wanted in (
        (received.weights, expected.weights),
        (received.arrays, expected.arrays),
    ):
        assert [(a.dtype, a.shape, a.tobytes()) for a in mine] == [
            (a.dtype, a.shape, a.tobytes()) for a in wanted
        ]


def files(folder: Path) -> dict[str, bytes]:
    """All files but the locks, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
