"""What would mislead, by hand: who is at chance, at an edge, or judged by a handful of samples."""

from dataclasses import replace

import pytest
from shards import client_row

from fedgen.analysis.doubts import doubts
from fedgen.config.tree import build
from fedgen.runs.rows import ClientRow, PartitionRow


def holding(validation: int) -> list[PartitionRow]:
    return [PartitionRow(0, c, None, None, 100, validation, "10 " * 9 + "10") for c in range(3)]


def ended(**finals: float | None) -> dict:
    return {"strategies": {n: {"final_accuracy": {"mean": mean}} for n, mean in finals.items()}}


def told(name: str, rates: list[float], number: int = 3) -> list[ClientRow]:
    row = client_row(number, 0)
    return [
        replace(row, strategy=name, client=client, applied_learning_rate=rate, status="ok")
        for client, rate in enumerate(rates)
    ]


FEDAVG = build({"run": {"strategies": ["fedavg"]}})


def test_an_arm_at_chance_is_named() -> None:
    found = doubts(FEDAVG, ended(fedavg=0.119, fedprox=0.121, pbt=None), [], holding(500))
    assert found == [
        "fedavg ends at 11.9 %, where guessing one of 10 classes gets 10.0 %: its learning rate "
        "may be far too low or too high, or its rounds too few."
    ]
    two = [PartitionRow(0, 0, None, None, 100, 500, "50 50")]
    assert len(doubts(FEDAVG, ended(fedavg=0.52), [], two)) == 1
    assert doubts(FEDAVG, ended(fedavg=0.53), [], two) == []
    assert doubts(FEDAVG, ended(fedavg=0.01), [], []) == [], "of nobody's classes nothing is known"


@pytest.mark.parametrize(
    ("settings", "name", "rates", "edge"),
    [
        ({"pbt": {"rates": [1e-4, 1e-2]}}, "pbt", [1e-2, 1e-2, 9e-3], "upper"),
        ({"pbt": {"rates": [1e-4, 1e-2]}}, "pbt", [1e-4, 1.1e-4, 1e-2], "lower"),
        ({"pbt": {"rates": [1e-4, 1e-2]}}, "pbt", [1e-3, 1e-2, 1e-4], None),
        ({"genetic-cfl": {"rates": [1e-4, 1e-2]}}, "genetic-cfl", [3e-2] * 3, "upper"),
        ({}, "fedavg-tuned", [1e-2] * 3, "upper"),
        ({}, "fedavg-tuned", [1e-3] * 3, None),
        ({}, "optuna-tpe", [1e-5] * 3, "lower"),
        ({}, "pbt@rates=[1e-3,1e-2]/fedprox", [1e-3] * 3, "lower"),
        ({"genes": {"learning_rate": {"low": 1e-2, "high": 1.0}}}, "pbt", [1.0] * 3, "upper"),
        ({}, "fedavg", [1e-2] * 3, None),
    ],
)
def test_rates_that_end_at_the_edge_of_their_range_are_named(
    settings: dict, name: str, rates: list[float], edge: str | None
) -> None:
    config = build({**settings, "run": {"strategies": [name]}})
    earlier = told(name, [1e-3] * 3, 1)
    found = doubts(config, ended(), [*earlier, *told(name, rates)], holding(500))
    assert len(found) == (edge is not None)
    if edge:
        assert found[0].startswith(f"{name} ends at learning rates of ")
        beyond = " or beyond it" if name == "genetic-cfl" else ""
        assert f", at the {edge} edge{beyond} of the range of " in found[0]


@pytest.mark.parametrize("code", ["none", "zstd", "float16", "int8"])
def test_rounded_updates_are_told_of_those_who_send_some(code: str) -> None:
    def found(*strategies: str) -> list[str]:
        run = {"strategies": list(strategies)}
        config = build({"run": run, "messages": {"compression": code}})
        return doubts(config, ended(), [], holding(500))

    told = (
        f"sent their updates rounded to {code} (messages.compression): figures and weights are "
        "not those of a run that loses nothing."
    )
    lossy = code in ("float16", "int8")
    assert found("fedavg", "pbt") == [f"Clients {told}"] * lossy
    assert found("fedavg", "centralised") == [f"Clients of fedavg {told}"] * lossy
    assert found("centralised") == []


def test_judges_of_few_samples_are_named_where_somebody_judges() -> None:
    config = build({"run": {"strategies": ["fedavg", "pbt", "fedavg-tuned"]}})
    assert doubts(config, ended(), [], holding(32)) == [
        "A client validates on 32 samples, the median: one of them is 3.1 points of what pbt, "
        "fedavg-tuned judge by."
    ]
    assert doubts(config, ended(), [], holding(100)) == []
    others = ["fedavg", "fedavg-decay", "random-search", "genetic-cfl"]
    config = build({"run": {"strategies": others}, "genetic-cfl": {"fitness": "test"}})
    assert doubts(config, ended(), [], holding(32)) == []
