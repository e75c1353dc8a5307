import json
import math
from dataclasses import replace

import pytest
from summaries import CONFIG, row

from fedgen.analysis.sentences import sentences
from fedgen.analysis.summary import best, final, measured_by, reach, spent, summarise, within
from fedgen.config.sections import Run
from fedgen.config.sections.model import Model
from fedgen.config.tree import Config

ROWS = [
    row("genetic-cfl", 4, 0, 0.125, 0.1),
    row("genetic-cfl", 4, 1, 0.5, 0.9),  # best validation: counts although test is lower
    row("genetic-cfl", 4, 2, 0.75, 0.8),
    row("genetic-cfl", 5, 0, 0.0, 0.1),
    row("genetic-cfl", 5, 1, 0.25, 0.2),
    row("genetic-cfl", 5, 2, 0.375, 0.3),
    row("fedavg", 4, 0, 0.125, 0.5),
    row("fedavg", 4, 1, 0.25, 0.5),
    row("fedavg", 5, 0, 0.5, 0.5),
]
T = 12.706204736432095  # Student's t of one degree of freedom, 97.5 %


def two(first: float, second: float, most: float = math.inf) -> dict:
    """Mean, values and interval of two values: mean +- t |difference| / 2, in 0 to the most."""
    mean, half = (first + second) / 2, T * abs(first - second) / 2
    return {
        "mean": mean,
        "values": [first, second],
        "interval": pytest.approx([max(mean - half, 0), min(mean + half, most)]),
    }


GENETIC = {
    "final_accuracy": two(0.75, 0.375, 1),
    "best_accuracy": two(0.5, 0.375, 1),
    "final_loss": two(1.25, 1.625),
    # fedavg's arm of seed 5 has spent nothing, so rounds 0 are compared.
    "accuracy_at_equal_client_epochs": two(0.125, 0.0, 1),
    # The highest accuracy that all arms reach is 0.25: an untrained model has as much.
    "rounds_to_target": {"mean": None, "values": [None, None], "interval": None},
    "client_epochs_to_target": {"mean": None, "values": [None, None], "interval": None},
    "rounds": two(2, 2),
    "client_epochs": two(30, 30),
    "samples": two(300, 300),
    "bytes": two(39, 39),
    "seconds": two(0.75, 0.75),
}


def test_summary_by_hand() -> None:
    summary = summarise(CONFIG, "digits", 550_570, ROWS)
    strategies, comparisons = summary.pop("strategies"), summary.pop("comparisons")
    assert summary == {
        "dataset": "digits",
        "model": "mlp",
        "parameters": 550_570,
        "rounds": 2,
        "seeds": [4, 5],
        "equal_client_epochs": 0,
        "target_accuracy": None,
        "metric": {"name": "accuracy", "title": "accuracy", "higher": True, "share": True},
        "ended": [],
    }
    assert strategies["genetic-cfl"] == GENETIC
    assert strategies["fedavg"]["samples"] == two(100, 0)
    assert comparisons[0] == {
        "metric": "final_accuracy",
        "strategy": "fedavg",
        "baseline": "genetic-cfl",
        "mean": -0.1875,
        "values": [-0.5, 0.125],
        "interval": [-1.0, 1.0],  # -0.1875 +- T * 0.3125, cut to what is possible
        "counted": 2,
        "p": None,
        "p_method": None,
        "significant": None,
    }
    assert [c["metric"] for c in comparisons] == [
        "final_accuracy",
        "best_accuracy",
        "accuracy_at_equal_client_epochs",
    ]


def test_every_metric_has_mean_values_and_interval() -> None:
    summary = summarise(CONFIG, "digits", 1, ROWS)
    assert list(summary["strategies"]) == ["genetic-cfl", "fedavg"]
    for numbers in summary["strategies"].values():
        assert tuple(numbers) == measured_by("accuracy")
        assert all(set(number) == {"mean", "values", "interval"} for number in numbers.values())


def test_costs_up_to_a_round_and_to_a_target() -> None:
    """Round n costs 10 n client-epochs: 0, 10 and 30 so far."""
    arm = ROWS[:3]
    assert spent(arm) == [0, 10, 30]
    assert [within(arm, budget) for budget in (0, 9, 10, 29, 99)] == [
        *(arm[0], arm[0], arm[1], arm[1], arm[2])
    ]
    assert reach(arm, 0.125) == (0, 0)
    assert reach(arm, 0.6) == (2, 30)
    assert reach(arm, 0.76) is None


def test_a_probe_that_costs_more_than_the_budget_leaves_nothing() -> None:
    probed = [replace(ROWS[0], client_epochs=40), *ROWS[1:3]]
    assert within(probed, 39) is None
    assert within(probed, 40) is probed[0]


def test_a_target_that_was_asked_for_is_the_one() -> None:
    config = CONFIG.model_copy(update={"run": CONFIG.run.model_copy(update={"target": 0.5})})
    found = summarise(config, "digits", 1, ROWS)
    assert found["target_accuracy"] == 0.5
    genetic = found["strategies"]["genetic-cfl"]["rounds_to_target"]
    assert genetic == {"mean": None, "values": [1, None], "interval": None}


def test_pooled_training_has_no_client_epochs_to_be_equal_in() -> None:
    run = CONFIG.run.model_copy(update={"strategies": ("genetic-cfl", "centralised")})
    pooled = [replace(row, strategy="centralised", client_epochs=1) for row in ROWS[6:]]
    found = summarise(CONFIG.model_copy(update={"run": run}), "digits", 1, [*ROWS[:6], *pooled])
    assert found["equal_client_epochs"] == 30
    equal = found["strategies"]["centralised"]["accuracy_at_equal_client_epochs"]
    assert equal == {"mean": None, "values": [None, None], "interval": None}
    assert found["strategies"]["genetic-cfl"]["accuracy_at_equal_client_epochs"]["values"] == [
        *(0.75, 0.375)
    ]


def told(*finals: tuple[float, float]) -> str:
    """The sentence about fedavg, from both strategies' final accuracies per seed."""
    rows = [
        row(name, 4 + seed, number, value if number else 0.0, value)
        for name, place in (("genetic-cfl", 0), ("fedavg", 1))
        for seed, pair in enumerate(finals)
        for number, value in ((0, 0.0), (1, pair[place]))
    ]
    run = CONFIG.run.model_copy(update={"seeds": len(finals), "rounds": 1})
    (sentence,) = sentences(summarise(CONFIG.model_copy(update={"run": run}), "digits", 1, rows))
    return sentence


def test_one_seed_is_one_observation() -> None:
    assert told((0.5, 0.75)) == (
        "fedavg is ahead of genetic-cfl by 25.00 points of final test accuracy (one seed: one "
        "observation, no interval), at a cost of 10 client-epochs each."
    )


def test_a_claim_says_how_p_came_about_and_how_many_pairs_differ() -> None:
    names = ("genetic-cfl", "fedavg")
    config = Config(run=Run(rounds=1, seeds=8, strategies=names), model=Model(name="mlp"))
    rows = [
        row(name, seed, number, 0.5 + ahead * (seed > 1) * number, 0.5)
        for name, ahead in (("genetic-cfl", 0.0), ("fedavg", 0.25))
        for seed in range(8)
        for number in range(2)
    ]
    summary = summarise(config, "digits", 1, rows)
    final = summary["comparisons"][0]
    assert (final["counted"], final["p"], final["p_method"]) == (6, 2 / 2**6, "exact")
    same = [replace(r, test_accuracy=0.5) if r.seed < 5 else r for r in rows]
    summary = summarise(config, "digits", 1, same)
    assert summary["comparisons"][0]["p"] is None
    assert "8 seeds, 3 of which differ: too few for a claim)" in sentences(summary)[0]


def test_few_seeds_have_an_interval_and_no_claim() -> None:
    sentence = told((0.5, 0.25), (0.5, 0.125), (0.5, 0.25))
    assert sentence.startswith("genetic-cfl is ahead of fedavg by 29.17 points")
    assert "(25.00, 37.50, 25.00, 3 seeds: too few for a claim of significance)" in sentence


def test_six_seeds_may_be_significant_or_not() -> None:
    clear = told(*((0.5, 0.6 + 0.01 * i) for i in range(6)))
    assert "Wilcoxon p = 0.0312 after Holm: significant" in clear
    mixed = told(*((0.5, 0.5 + 0.01 * (i - 3)) for i in range(7)))
    assert "level" in mixed and ": not significant" in mixed


def test_the_order_of_the_rows_does_not_matter() -> None:
    assert summarise(CONFIG, "digits", 1, ROWS[::-1]) == summarise(CONFIG, "digits", 1, ROWS)


def test_best_round_is_chosen_by_validation_alone() -> None:
    assert best(ROWS[:3]) is ROWS[1]
    assert final(ROWS[:3]) is ROWS[2]


def test_a_tie_goes_to_the_earlier_round() -> None:
    assert best(ROWS[6:8]) is ROWS[6]
    assert best(ROWS[6:8][::-1]) is ROWS[6]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null(loss: float) -> None:
    rows = [replace(r, test_loss=loss) if (r.seed, r.round) == (5, 2) else r for r in ROWS]
    summary = summarise(CONFIG, "digits", 1, rows)
    assert summary["strategies"]["genetic-cfl"]["final_loss"] == {
        "mean": None,
        "values": [1.25, None],
        "interval": None,
    }
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_an_arm_without_rows_has_no_value() -> None:
    summary = summarise(CONFIG, "digits", 1, [r for r in ROWS if r.strategy == "genetic-cfl"])
    assert summary["strategies"]["fedavg"]["final_accuracy"] == {
        "mean": None,
        "values": [None, None],
        "interval": None,
    }
    genetic = summary["strategies"]["genetic-cfl"]
    assert genetic["final_accuracy"] == GENETIC["final_accuracy"]
