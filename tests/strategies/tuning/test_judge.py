"""What genes are ranked by: latest losses, windows, ranks over rounds, races and ages."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import OK, ClientOutcome, RoundOutcome, Update
from strategies.tuning.judge import Judge
from strategies.tuning.settings import Evolving

ONE, OTHER = Genome(1e-3, 32), Genome(1e-2, 32)


def judge(**settings: Any) -> Judge:
    return Judge(Evolving(**settings))


def outcome(
    losses: Mapping[int, float | None], clusters: Mapping[int, int] | None = None
) -> RoundOutcome:
    """A round in which clients report losses, and those with ``None`` nothing."""
    rows = []
    for client, loss in losses.items():
        label = (clusters or {}).get(client, 0)
        update = None
        if loss is not None:
            arrays = [np.zeros(1, np.float32)]
            update = Update(arrays, ONE, loss, 1.0, 10, 10, 1, 0.0)
        status = OK if update else "failed: no reply in time"
        rows.append(ClientOutcome(client, Assignment(ONE, "random", cluster=label), status, update))
    return RoundOutcome(tuple(rows))


def test_as_designed_the_latest_finite_loss_counts() -> None:
    made = judge()
    made.learn(outcome({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    made.learn(outcome({0: 0.5, 1: math.nan, 2: None}))
    assert made.losses == {0: 0.5, 3: 4.0} and made.latest == {0}
    assert made.state() == {"losses": {"0": 0.5, "3": 4.0}}
    assert made.unbeaten([0, 3]) == made.expired(9) == set()


def test_a_window_is_the_mean_of_losses_relative_to_their_rounds() -> None:
    made = judge(fitness_window=2)
    for losses in ({0: 5.0, 1: 6.0, 2: 9.0}, {0: 3.0, 1: 2.0, 2: 4.0}, {0: 1.0, 1: 2.0, 2: 1.5}):
        made.learn(outcome(losses))
    # Of round 2, less 3: 0, -1 and 1. Of round 3, less 1.5: -0.5, 0.5 and 0.
    assert made.losses == {0: -0.25, 1: -0.25, 2: 0.5}


@pytest.mark.parametrize("move", ["differential", "cma-es"])
def test_losses_of_different_rounds_are_compared_by_their_own_round_s_median(move: str) -> None:
    """Losses fall: who was there early and was the best of all is so still."""
    made = judge(move=move)
    made.learn(outcome({0: 5.0, 1: 6.0, 2: 9.0, 3: 8.0}, {0: 0, 1: 0, 2: 0, 3: 1}))
    assert made.losses == {0: -1.0, 1: 0.0, 2: 3.0, 3: 0.0}  # the last one is alone
    made.learn(outcome({1: 2.5, 4: 2.0, 5: 1.0, 2: math.inf}))
    assert made.losses == {0: -1.0, 1: 0.5, 3: 0.0, 4: 0.0, 5: -1.0}
    assert made.state() == {"losses": {str(c): x for c, x in sorted(made.losses.items())}}


def test_ranks_count_half_a_halflife_later() -> None:
    """Three in one cluster and two in another; ranks of a round are 0, 0.5 and 1, or 0 and 1."""
    clusters = {0: 7, 1: 7, 2: 7, 3: -1, 4: -1}
    made = judge(rank_halflife=1.0)
    made.learn(outcome({0: 1.0, 1: 2.0, 2: 3.0, 3: 9.0, 4: 8.0}, clusters))
    assert made.losses == {0: 0.0, 1: 0.5, 2: 1.0, 3: 1.0, 4: 0.0}
    made.learn(outcome({0: 0.3, 1: 0.2, 2: 0.1, 3: 5.0, 4: 4.0}, clusters))
    wanted = {0: 2 / 3, 1: 0.5, 2: 1 / 3, 3: 1.0, 4: 0.0}  # weights 1/2 and 1
    assert made.losses == pytest.approx(wanted)
    made.changed({0: ONE, 1: ONE}, {0: OTHER, 1: ONE}, 3)  # the first one's ranks are of old genes
    made.learn(outcome({0: 3.0, 1: 2.0, 2: 1.0}, clusters))
    assert made.losses[0] == 1.0
    # Weights 1/4, 1/2 and 1, as for all that were there before.
    assert made.losses[2] == pytest.approx((1.0 / 4) / 1.75)


def test_races_drop_only_who_is_behind_beyond_chance() -> None:
    """Ranks are 0, 1/3, 2/3 and 1, the same in every round; errors fall as their number grows."""
    made = judge(racing=1.0)
    unbeaten = []
    for _ in range(4):
        made.learn(outcome({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
        unbeaten.append(made.unbeaten([0, 1, 2, 3]))
    # With n ranks that are all alike a squared error is 1/12 / n^2, of a difference 1/6 / n^2.
    bars = [math.sqrt(1 / 6) / number for number in (1, 2, 3, 4)]
    assert unbeaten == [{c for c in range(4) if c / 3 <= bar} for bar in bars]
    assert unbeaten[0] == {0, 1} and unbeaten[-1] == {0}
    assert made.losses == {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}  # ranked by the latest, as designed
    assert made.unbeaten([8, 9]) == set()
    made.learn(outcome({0: None}))
    assert made.unbeaten([0, 1]) == {1}  # nothing is known of the other any more


def test_genes_grow_old_from_the_round_in_which_they_came() -> None:
    made = judge(age_limit=2)
    made.changed({}, {0: ONE, 1: ONE}, 1)
    made.changed({0: ONE, 1: ONE}, {0: ONE, 1: OTHER}, 2)
    assert [made.expired(number) for number in (3, 4, 5)] == [set(), {0}, {0, 1}]
    made.changed({0: ONE}, {0: OTHER}, 4)
    assert made.expired(5) == {1}


LOSSES = st.one_of(st.none(), st.floats(), st.sampled_from([math.nan, math.inf]))
JUDGES = [
    {},
    {"fitness_window": 3},
    {"rank_halflife": 2.0},
    {"racing": 1.0},
    {"age_limit": 2, "rank_halflife": 1.0, "racing": 0.5},
    {"mutation_scale": "log"},
    {"move": "differential"},
]


@pytest.mark.parametrize("settings", JUDGES, ids=str)
@given(st.lists(st.dictionaries(st.integers(0, 5), LOSSES, min_size=1), min_size=1, max_size=5))
def test_restored_it_knows_the_same_and_only_what_is_finite(
    settings: dict[str, Any], rounds: list[dict[int, float | None]]
) -> None:
    made = judge(**settings)
    for number, losses in enumerate(rounds, 1):
        genomes = {client: (ONE, OTHER)[(client + number // 2) % 2] for client in losses}
        made.changed({client: ONE for client in losses}, genomes, number)
        made.learn(outcome(losses))
        reported = {c for c, loss in losses.items() if loss is not None and math.isfinite(loss)}
        assert made.latest == reported and reported <= set(made.losses)
        assert not {*losses} - reported & set(made.losses)
    again = judge(**settings)
    again.restore(json.loads(json.dumps(made.state())))
    assert again.state() == made.state()
    for one in (made, again):
        one.learn(outcome({0: 1.0, 1: 2.0, 2: 0.5}))
    assert again.losses == made.losses
    assert again.unbeaten(range(6)) == made.unbeaten(range(6))
    assert again.expired(9) == made.expired(9)
