"""Charts against rows made so that their words would be wrong."""

import math
from dataclasses import replace
from typing import Any

from shards import client_row, round_row

from fedgen.report.charts import axes, contrasts, curves, evenness, evolution, palette, partition
from fedgen.runs.rows import EvaluationRow, PartitionRow, RoundRow


def test_the_worst_tenth_of_few_clients_is_one_and_is_shaded() -> None:
    rows = [EvaluationRow("fedavg", 0, 1, client, 10, 0.1 * client, 1.0) for client in range(6)]
    (shaded,) = evenness.clients(rows).figure.layout.shapes
    assert (shaded.x0, round(shaded.x1, 3)) == (0, round(100 / 6, 3))
    many = [EvaluationRow("fedavg", 0, 1, client, 10, 0.01 * client, 1.0) for client in range(20)]
    (shaded,) = evenness.clients(many).figure.layout.shapes
    assert shaded.x1 == 10


def test_labels_are_told_of_all_clients_though_few_are_drawn() -> None:
    rows = [PartitionRow(0, client, None, None, 10, 1, "5 5") for client in range(200)]
    rows.append(PartitionRow(0, 200, None, None, 10, 1, "10"))
    chart = partition.labels(rows)
    assert "makes up 50% to 100% of a client's samples" in chart.text
    assert len(chart.table.body) == 201 and chart.table.body[-1] == ["200", "10", "0"]


def test_a_cluster_that_came_later_is_told_from_its_own_first_round() -> None:
    rows = [
        _evolved(number, client, cluster, fitness)
        for number, client, cluster, fitness in (
            (1, 0, -1, 4.5),
            (2, 0, 0, 2.95),
            (3, 0, 0, 1.95),
            (3, 1, -1, 0.95),
        )
    ]
    text = evolution.fitness(rows).text
    assert "From each one's first round to its last" in text
    assert "cluster 0: 2.9500 to 1.9500" in text


def _words(rows: list[Any]) -> str:
    """Everything that the story of an arm says and shows as text, lower case."""
    drawn = [make() for make in evolution.charts(rows).values()]
    texts = [
        f"{c.title} {c.text} {c.table.head} {c.table.body} {c.figure.to_json()}" for c in drawn
    ]
    return " ".join(texts).lower()


def test_groups_are_called_what_they_are() -> None:
    """A tournament has entrants; a strategy that groups nobody has neither word nor legend."""
    rows = [_evolved(n, client, client % 2, 1.0 / n) for n in (1, 2) for client in range(4)]

    def named(strategy: str, **changes: object) -> list[Any]:
        return [type(row)(**vars(row) | {"strategy": strategy} | changes) for row in rows]

    genetic = _words(named("genetic-cfl+probe/fedprox"))
    assert "cluster 1" in genetic and "fitness per cluster" in genetic
    for name in ("tournament", "tournament@entrants=2/fedprox@mu=0.5"):
        told = _words(named(name))
        assert "entrant 1" in told and "clients per entrant" in told and "cluster" not in told
    alone = _words(named("pbt", cluster=None))
    assert "cluster" not in alone and "entrant" not in alone
    assert "fitness of the cohort" in alone and '"showlegend":true' not in alone


def test_every_declared_gene_has_a_chart() -> None:
    """Where factors matter, and nothing is 0, on a logarithmic axis."""
    told = [{"mu": 0.01 * n, "weight_decay": 1e-3 * (n - 1), "dropout": 0.1} for n in (1, 2, 3)]
    rows = [_evolved(n, 0, 0, 1.0) for n in (1, 2, 3)]
    rows = [
        type(row)(**vars(row) | {"measured": mine}) for row, mine in zip(rows, told, strict=True)
    ]
    drawn = evolution.charts(rows)
    assert [name for name in drawn if name in told[0]] == ["weight_decay", "dropout", "mu"]
    mu, decay = drawn["mu"](), drawn["weight_decay"]()
    assert "The mu of every client. Median 0.01 in round 1, 0.03 in round 3." in mu.text
    assert list(mu.figure.data[0].y) == [0.01, 0.02, 0.03]
    assert (mu.figure.layout.yaxis.type, decay.figure.layout.yaxis.type) == ("log", None)
    assert "The weight decay of every client. Median 0 in round 1, 0.002" in decay.text
    assert "label_smoothing" not in drawn


def test_curves_that_lie_on_one_another_are_named() -> None:
    def arm(*accuracies: float) -> list[list[RoundRow]]:
        return [[replace(round_row(n), test_accuracy=value) for n, value in enumerate(accuracies)]]

    arms = {"a": arm(0.1, 0.5, 0.9), "b": arm(0.1, 0.6, 0.9), "c": arm(0.1, 0.5, 0.902)}
    assert "a and c lie on one another." in curves.curves(arms, "test_accuracy", "x").note
    apart = curves.curves(arms | {"c": arm(0.1, 0.5, 0.91)}, "test_accuracy", "x")
    assert "lie on" not in apart.note
    longer = curves.curves(arms | {"c": arm(0.1, 0.5, 0.9, 0.9)}, "test_accuracy", "x")
    assert "lie on" not in longer.note


def test_a_search_that_dwarfs_the_rest_does_not_squeeze_it() -> None:
    def arm(first: int, each: int) -> list[list[RoundRow]]:
        costs = [first, each, each]
        return [[replace(round_row(n), client_epochs=cost) for n, cost in enumerate(costs)]]

    arms = {"a": arm(0, 10), "b": arm(200, 10), "c": arm(0, 9)}
    chart = curves.curves(arms, "test_accuracy", "x")
    assert list(chart.figure.layout.xaxis.range) == [-1, 21]
    assert "b begins at 200 client-epochs, beyond the right edge: so much its" in chart.note
    rounds = curves.curves(arms, "test_accuracy", "x", "rounds")
    assert rounds.figure.layout.xaxis.range is None and "begins" not in rounds.note
    pair = curves.curves({"a": arm(0, 10), "b": arm(200, 10)}, "test_accuracy", "x")
    assert pair.figure.layout.xaxis.range is None, "it would hide one of two"
    near = curves.curves(arms | {"b": arm(25, 5)}, "test_accuracy", "x")
    assert near.figure.layout.xaxis.range is None, "there is room for both"
    assert "b begins at 25 client-epochs: so much its search cost." in near.note
    within = {"a": arm(0, 50), "b": arm(0, 150), "c": arm(150, 275)}
    assert list(curves.curves(within, "test_accuracy", "x").figure.layout.xaxis.range)[1] < 400
    note = curves.curves(within, "test_accuracy", "x").note
    assert "c begins at 150 client-epochs, and goes on beyond the right edge: so much" in note


def test_losses_beyond_all_numbers_are_drawn() -> None:
    for least, most in ((1e-320, 1.0), (1.0, 1e308), (1e-320, 1e-319), (1e308, 1.1e308)):
        rows = [replace(round_row(n), test_loss=loss) for n, loss in enumerate((most, least))]
        chart = curves.curves({"a": [rows]}, "test_loss", "test loss")
        assert chart.html("loss", first=True)
        ticks = axes.decades(math.log10(least), math.log10(most))["tickvals"]
        assert all(0 < tick < math.inf for tick in ticks)


def test_bands_are_drawn_as_long_as_they_can_be_told_apart() -> None:
    def drawn(count: int) -> curves.Chart:
        seeds = [
            [replace(round_row(n), seed=seed, test_accuracy=0.1 * seed) for n in (0, 1)]
            for seed in range(5)
        ]
        arms = {f"own{n}": seeds for n in range(count)}
        return curves.curves(arms, "test_accuracy", "x")

    few, many = drawn(curves.MOST_BANDS), drawn(curves.MOST_BANDS + 1)
    assert sum(trace.fill == "tonexty" for trace in few.figure.data) == curves.MOST_BANDS
    assert "bands 95 % intervals" in few.note
    assert not any(trace.fill for trace in many.figure.data) and "band" not in many.note


def test_what_rounds_to_no_point_has_no_sign() -> None:
    compared: dict[str, Any] = {"strategy": "x", "baseline": "fedavg", "p": None, "counted": 2}
    compared |= {"mean": -1e-6, "values": [-1e-6, 1e-7], "interval": [-1e-5, 1e-5]}
    chart = contrasts.differences([compared], "within equal cost")
    assert "x 0.00." in chart.text
    assert chart.table.body[0][1:3] == ["0.00", "0.00, 0.00"]


def _evolved(number: int, client: int, cluster: int, fitness: float) -> Any:
    row = client_row(number, client)
    return type(row)(
        **vars(row) | {"cluster": cluster, "fitness": fitness, "origin": "mutant", "status": "ok"}
    )


def test_a_registered_strategy_looks_the_same_whoever_is_beside_it() -> None:
    alone = palette.styles(["scaffold"])["scaffold"]
    crowd = ["fedavg@1e-2", "genetic-cfl+no-mutation", "scaffold", "fedavg@1e-3", "fedprox"]
    found = palette.styles(crowd)
    assert list(found) == crowd and found["scaffold"] == alone
    assert len({*found.values()}) == len(crowd)
    assert len({style.colour for style in found.values()}) == len(crowd), "there are colours left"
    assert palette.styles(["run: scaffold (diverged in round 1 on seed 0)"]).popitem()[1] == alone
    many = [f"own:{n}" for n in range(len(palette.EVERY) + 3)]
    assert {*palette.styles(many).values()} == {*palette.EVERY}


def test_a_logarithmic_axis_has_ticks_that_people_read() -> None:
    def ticks(low: float, high: float) -> list[float]:
        return [float(text) for text in axes.decades(math.log10(low), math.log10(high))["ticktext"]]

    assert ticks(0.15, 2.4) == [0.2, 0.5, 1, 2]
    assert ticks(1e-5, 20) == [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10]
    assert ticks(2.1, 2.303) == [2.1, 2.2, 2.3], "less than a factor of 5"
    assert len(ticks(0.55, 0.95)) >= 3
    assert axes.log_axis(10, [3e-4, 0.02])["ticktext"] == ["0.0001", "0.001", "0.01", "0.1"]
    assert axes.log_axis(2, [16, 40])["ticktext"] == ["16", "32", "64"]
