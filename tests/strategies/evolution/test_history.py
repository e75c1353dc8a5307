import pytest

from strategies.evolution.history import averages, remember


def test_losses_count_relative_to_the_median_of_their_round() -> None:
    first = remember({}, {1: 1.0, 2: 2.0, 3: 4.0}, 2)
    assert first == {1: [-1.0], 2: [0.0], 3: [2.0]}
    second = remember(first, {1: 0.5, 2: 2.5}, 2)
    assert second == {1: [-1.0, -1.0], 2: [0.0, 1.0], 3: [2.0]}
    assert averages(second) == {1: -1.0, 2: 0.5, 3: 2.0}
    assert first == {1: [-1.0], 2: [0.0], 3: [2.0]}


def test_only_the_latest_rounds_are_kept() -> None:
    history = {7: [5.0, 1.0]}
    for loss in (2.0, 4.0):
        history = remember(history, {7: loss, 8: 0.0, 9: 10.0}, 2)
    assert history[7] == [0.0, 0.0]
    assert len(history[8]) == len(history[9]) == 2


def test_a_genome_that_was_there_early_does_not_look_worse_for_it() -> None:
    """Everybody's loss halves each round; client 0 is a little better than client 1 all along."""
    history = {}
    for number in range(4):
        losses = {0: 0.9 * 2.0**-number, 1: 2.0**-number, 2: 1.1 * 2.0**-number}
        if number < 3:
            losses.pop(1)  # client 1 comes in the last round, when all losses are low
        history = remember(history, losses, 4)
    means = averages(history)
    assert means[0] < means[1] < means[2]


def test_an_absurd_loss_does_not_drown_the_others() -> None:
    means = averages(remember({}, {1: 0.25, 2: 0.5, 3: 1e30}, 2))
    assert means[1] == pytest.approx(-0.25) and means[2] == 0.0


def test_a_round_without_losses_changes_nothing() -> None:
    assert remember({4: [1.0]}, {}, 3) == {4: [1.0]}
