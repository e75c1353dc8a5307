import json
import math
from dataclasses import replace

import pytest

from fedgen.config import Config
from fedgen.records import RoundRow
from fedgen.sections import Model, Run
from fedgen.summary import best, final, summarise


def row(strategy: str, seed: int, number: int, test: float, validation: float) -> RoundRow:
    return RoundRow(
        strategy=strategy,
        seed=seed,
        round=number,
        test_accuracy=test,
        test_loss=2.0 - test,
        validation_accuracy=validation,
        validation_loss=1.0,
        train_loss=None if number == 0 else 0.5,
        clients=30,
        rejected=1,
        failed=2,
        client_epochs=10 * number,
        samples=100 * number,
        bytes_down=7 + number,
        bytes_up=5,
        seconds=0.25,
    )


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
CONFIG = Config(
    run=Run(rounds=2, seed=4, seeds=2, strategies=("genetic-cfl", "fedavg")),
    model=Model(name="mlp"),
)
GENETIC = {
    "final_accuracy": {"mean": 0.5625, "values": [0.75, 0.375]},
    "best_accuracy": {"mean": 0.4375, "values": [0.5, 0.375]},
    "final_loss": {"mean": 1.4375, "values": [1.25, 1.625]},
    "client_epochs": {"mean": 30.0, "values": [30, 30]},
    "samples": {"mean": 300.0, "values": [300, 300]},
    "bytes": {"mean": 39.0, "values": [39, 39]},
    "seconds": {"mean": 0.75, "values": [0.75, 0.75]},
}


def test_summary_by_hand() -> None:
    summary = summarise(CONFIG, "digits", 550_570, ROWS)
    strategies = summary.pop("strategies")
    assert summary == {
        "dataset": "digits",
        "model": "mlp",
        "parameters": 550_570,
        "rounds": 2,
        "seeds": [4, 5],
    }
    assert strategies["genetic-cfl"] == GENETIC
    assert strategies["fedavg"]["samples"] == {"mean": 50.0, "values": [100, 0]}


def test_keys_are_exactly_the_documented_ones() -> None:
    summary = summarise(CONFIG, "digits", 1, ROWS)
    assert list(summary) == ["dataset", "model", "parameters", "rounds", "seeds", "strategies"]
    assert list(summary["strategies"]) == ["genetic-cfl", "fedavg"]
    for numbers in summary["strategies"].values():
        assert list(numbers) == [
            "final_accuracy",
            "best_accuracy",
            "final_loss",
            "client_epochs",
            "samples",
            "bytes",
            "seconds",
        ]
        assert all(set(number) == {"mean", "values"} for number in numbers.values())


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
    }
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_an_arm_without_rows_has_no_value() -> None:
    summary = summarise(CONFIG, "digits", 1, [r for r in ROWS if r.strategy == "genetic-cfl"])
    assert summary["strategies"]["fedavg"]["final_accuracy"] == {"mean": None, "values": []}
    assert summary["strategies"]["genetic-cfl"] == GENETIC
