"""The one round loop: every launcher plays its arms through it."""

import time
from collections.abc import Iterator

from fedgen.arms import Player
from fedgen.records import RoundRow, client_rows, round_row
from fedgen.runconfig import Arm
from fedgen.store import Checkpoint, Shard
from fedgen.training import Weights
from fedgen.world import World


def play(
    arm: Arm, player: Player, world: World, shard: Shard, initial: Weights, rounds: int
) -> Iterator[RoundRow]:
    """Play an arm to its last round, from its latest checkpoint if there is one.

    Every round is committed before its row is yielded: whoever stops asking, or
    is killed, loses at most the round in progress.

    Args:
        arm: The strategy and seed.
        player: What plays the rounds.
        world: What evaluates the weights.
        shard: Where rows and checkpoints go.
        initial: Weights before the first round.
        rounds: Number of the last round.

    Yields:
        The row of every round played now, from round 0 on.

    Raises:
        RunError: If a round fails or cannot be written.
    """
    checkpoint = shard.open()
    if checkpoint is not None:
        player.restore(checkpoint.state, checkpoint.arrays)
        weights, first = checkpoint.weights, checkpoint.round + 1
    else:
        weights, first = initial, 0
    for number in range(first, rounds + 1):
        started = time.perf_counter()
        if number == 0:
            weights, outcome = player.start(weights)
        else:
            weights, outcome = player.step(number, weights)
        validation, test = world.evaluate(weights)
        seconds = time.perf_counter() - started
        row = round_row(arm, number, outcome, validation, test, seconds)
        state, arrays = player.state()
        shard.commit(
            Checkpoint(number, weights, state, arrays), [row], client_rows(arm, number, outcome)
        )
        yield row
