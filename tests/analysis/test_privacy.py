"""Epsilon, where it may be claimed, and the reason where it may not."""

import math
import sys
from dataclasses import replace
from typing import Any

import pytest
from shards import round_row

from fedgen.analysis.privacy import Spending, spent, spent_together, worst
from fedgen.config.tree import Config, build
from fedgen.runs.rows import RoundRow

CLEAN = [round_row(number) for number in range(6)]


def private(**sections: dict[str, Any]) -> Config:
    return build({"privacy": {"kind": "central", "noise_multiplier": 2.0}, **sections})


def renyi(noise: float, rounds: int, delta: float) -> float:
    """Epsilon of composed Gaussians by Mironov's formula with the tighter conversion.

    RDP of order a is rounds a / (2 noise^2); epsilon is the least over orders of
    rdp + log1p(-1/a) - log(delta a) / (a - 1) (Balle et al., 2020, arXiv 1905.09982).
    """
    orders = [1 + x / 100 for x in range(1, 20_000)]
    return min(
        rounds * a / (2 * noise**2) + math.log1p(-1 / a) - math.log(delta * a) / (a - 1)
        for a in orders
    )


def test_one_cohort_is_as_many_gaussians_as_rounds() -> None:
    found = spent(private(), "fedavg", CLEAN)
    assert found.epsilon == pytest.approx(renyi(2.0, 5, 1e-5), rel=0.01)
    assert (found.noise_multiplier, found.delta) == (2.0, 1e-5)
    assert "5 global models from one cohort" in found.note and "clients.csv" in found.note


def test_nothing_is_claimed_for_a_control_of_a_strategy_that_selects_on_losses() -> None:
    found = spent(private(), "genetic-cfl+one-cluster", CLEAN)
    assert found.epsilon is None and "selects hyperparameters on losses" in found.note


def test_local_noise_hides_any_two_updates_so_counts_half() -> None:
    config = build({"privacy": {"kind": "local", "noise_multiplier": 2.0}})
    assert spent(config, "fedavg", CLEAN).epsilon == pytest.approx(renyi(1.0, 5, 1e-5), rel=0.01)


def test_a_cohort_drawn_anew_is_amplified() -> None:
    """More so the smaller the cohort, and never below what replacing costs without noise."""
    small, large = (
        spent(private(cohort={"resample": True, "fraction": f}), "fedavg", CLEAN).epsilon
        for f in (0.05, 0.5)
    )
    assert small is not None and large is not None
    assert small < large
    assert small < renyi(1.0, 5, 1e-5)


def test_more_rounds_and_less_noise_cost_more() -> None:
    base = spent(private(), "fedavg", CLEAN).epsilon
    longer = spent(private(), "fedavg", [*CLEAN, round_row(6)]).epsilon
    louder = private(privacy={"kind": "central", "noise_multiplier": 4.0})
    quiet = spent(louder, "fedavg", CLEAN).epsilon
    assert base is not None and longer is not None and quiet is not None
    assert quiet < base < longer


@pytest.mark.parametrize(
    ("sections", "strategy", "why"),
    [
        ({}, "genetic-cfl", "selects hyperparameters on losses"),
        ({}, "ifca", "selects hyperparameters on losses"),
        ({}, "centralised", "pooled data"),
        ({"model": {"name": "mlp-324-108-bn"}}, "fedavg", "moving statistics"),
        ({"privacy": {"kind": "central", "noise_multiplier": 0.0}}, "fedavg", "no noise"),
    ],
)
def test_no_epsilon_where_assumptions_do_not_hold(
    sections: dict[str, Any], strategy: str, why: str
) -> None:
    found = spent(private(**sections), strategy, CLEAN)
    assert found.epsilon is None and why in found.note


def test_no_epsilon_where_replies_were_left_out_or_nothing_was_trained() -> None:
    rejected = [*CLEAN[:-1], replace(CLEAN[-1], rejected=1)]
    assert "not used" in spent(private(), "fedavg", rejected).note
    assert "nothing was trained" in spent(private(), "fedavg", CLEAN[:1]).note


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    found = spent(private(), "fedavg", CLEAN)
    assert found.epsilon is None and "pip install 'fedgen[dp]'" in found.note


@pytest.mark.parametrize("noise", [1e-3, 1e6])
@pytest.mark.parametrize("resample", [False, True])
def test_the_least_and_the_most_noise_end_in_a_bound_or_in_none(
    noise: float, resample: bool
) -> None:
    privacy = {"kind": "central", "noise_multiplier": noise}
    found = spent(private(privacy=privacy, cohort={"resample": resample}), "fedavg", CLEAN)
    assert found.epsilon is None or 0 <= found.epsilon < math.inf
    assert noise > 1 or found.epsilon is None or found.epsilon > 1e3


def test_the_worst_arm_speaks_for_its_strategy() -> None:
    arms = [Spending(1.0, 1e-5, 2.0, "a"), Spending(1.0, 1e-5, 3.0, "b")]
    assert worst(arms).note == "b"
    assert worst([*arms, Spending(1.0, 1e-5, None, "c")]).note == "c"


def together(config: Config, *arms: tuple[str, int, int]) -> Spending:
    """The joint spending of arms, each a strategy, a seed, and a number of rounds."""
    played: dict[str, dict[int, list[RoundRow]]] = {}
    for name, seed, rounds in arms:
        rows = [round_row(number, strategy=name, seed=seed) for number in range(rounds + 1)]
        played.setdefault(name, {})[seed] = rows
    return spent_together(config, played)


def test_arms_and_seeds_that_are_released_together_compose() -> None:
    """Two arms of 5 and 3 rounds and a second seed of 2 are ten Gaussians, not the worst arm's."""
    found = together(private(), ("fedavg", 0, 5), ("fedprox", 0, 3), ("fedavg", 1, 2))
    assert found.epsilon == pytest.approx(renyi(2.0, 10, 1e-5), rel=0.01)
    assert "all 3 arms together (2 seeds, one client of each)" in found.note
    assert "10 global models" in found.note and "alone" not in found.note
    assert "this arm and one seed alone" in spent(private(), "fedavg", CLEAN).note


def test_arms_that_share_their_cohorts_are_not_amplified_apart() -> None:
    """A cohort is drawn once for both arms: that costs more than two cohorts drawn apart."""
    config = private(cohort={"resample": True, "fraction": 0.1})
    both = together(config, ("fedavg", 0, 20), ("fedprox", 0, 20)).epsilon
    apart = together(config, ("fedavg", 0, 20), ("fedprox", 1, 20)).epsilon
    less = build(
        {
            "privacy": {"kind": "central", "noise_multiplier": 2.0 / math.sqrt(2)},
            "cohort": {"resample": True, "fraction": 0.1},
        }
    )
    assert both is not None and apart is not None and both > 1.01 * apart
    assert both == pytest.approx(together(less, ("fedavg", 0, 20)).epsilon)


def test_local_noise_composes_as_well() -> None:
    config = build({"privacy": {"kind": "local", "noise_multiplier": 2.0}})
    found = together(config, ("fedavg", 0, 5), ("fedprox", 0, 5))
    assert found.epsilon == pytest.approx(renyi(1.0, 10, 1e-5), rel=0.01)


def test_one_arm_without_a_bound_leaves_none_for_all() -> None:
    found = together(private(), ("fedavg", 0, 5), ("genetic-cfl", 0, 5))
    assert found.epsilon is None
    assert found.note.startswith("nothing can be claimed of genetic-cfl: the strategy selects")
