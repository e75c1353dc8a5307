"""Ancestors: by hand, and held against every row of a real run."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from runs import play

from fedgen.analysis.lineage import ancestry, best_of_last_round, tell
from fedgen.report.charts import evolution
from fedgen.report.results import load
from fedgen.runs.rows import ClientRow


def row(
    number: int,
    client: int,
    rate: float,
    batch: int,
    origin: str,
    parent: int | None = None,
    factor: float | None = None,
    batch_parent: int | None = None,
    fitness: float | None = None,
) -> ClientRow:
    genes = (0, rate, batch, rate, batch, fitness, None, 8)
    return ClientRow(
        "g", 0, number, client, *genes, origin, parent, batch_parent, factor, "ok", 0.1
    )


FAMILY = [
    row(1, 3, 1e-4, 16, "random"),
    row(1, 7, 1e-5, 64, "random"),
    row(2, 3, 1e-4, 16, "elite", 3, 1.0, 3),
    row(2, 7, 1.1e-4, 16, "mutant", 3, 1.1, 3),
    row(3, 3, 1e-4, 16, "elite", 3, 1.0, 3, 0.9),
    row(3, 7, 1.21e-4, 16, "mutant", 7, 1.1, 3, 0.8),
]


def test_an_average_has_two_parents_and_each_gene_follows_one() -> None:
    rows = [
        row(1, 3, 1e-4, 16, "random"),
        row(1, 7, 3e-4, 64, "random"),
        row(2, 5, 2.2e-4, 40, "average", 3, 1.1, 7, 0.5),
    ]
    rates, batches = (ancestry(rows, rows[-1], gene) for gene in ("learning rate", "batch size"))
    assert [step.client for step in rates] == [3, 5]
    assert [step.client for step in batches] == [7, 5]
    assert tell(rates, ".2g")[-1] == (
        "Round 2: client 5 takes the mean of clients 3 and 7 times 1.1: 0.00022."
    )
    assert tell(batches, "g")[-1] == (
        "Round 2: client 5 takes the mean of clients 7 and 3, unchanged: 40."
    )


def test_the_way_of_a_rate_leads_over_its_parents_to_who_drew_it() -> None:
    best = best_of_last_round(FAMILY)
    assert best is FAMILY[-1]
    steps = ancestry(FAMILY, best, "learning rate")
    assert [(s.round, s.client, s.value) for s in steps] == [
        (1, 3, 1e-4),
        (2, 7, 1.1e-4),
        (3, 7, 1.21e-4),
    ]
    assert tell(steps, ".3g") == [
        "Round 1: client 3 starts with 0.0001 (random).",
        "Round 2: client 7 inherits from client 3 times 1.1: 0.00011.",
        "Round 3: client 7 has its own times 1.1: 0.000121.",
    ]


def test_the_way_of_a_batch_size_is_another_and_kept_rounds_are_one_sentence() -> None:
    steps = ancestry(FAMILY, FAMILY[-1], "batch size")
    assert [(s.round, s.client) for s in steps] == [(1, 3), (2, 3), (3, 7)]
    assert tell(steps, "g") == [
        "Rounds 1 to 2: client 3 starts with 16 (random).",
        "Round 3: client 7 inherits from client 3, unchanged: 16.",
    ]


def test_a_batch_size_that_was_perturbed_is_not_called_unchanged() -> None:
    """As in population-based tuning, where rows hold the factor of the rate alone."""
    rows = [
        row(1, 3, 1e-4, 20, "random"),
        row(2, 3, 1e-4, 20, "kept", 3, 1.0, 3),
        row(3, 7, 1.2e-4, 16, "mutant", 3, 1.2, 3),
    ]
    assert tell(ancestry(rows, rows[-1], "batch size"), "g") == [
        "Rounds 1 to 2: client 3 starts with 20 (random).",
        "Round 3: client 7 inherits from client 3, perturbed: 16.",
    ]


def test_a_parent_that_sat_out_rounds_is_found_where_it_last_took_part() -> None:
    rows = [row(1, 3, 1e-4, 16, "random"), row(5, 7, 9e-5, 16, "mutant", 3, 0.9, 3)]
    assert [step.round for step in ancestry(rows, rows[1], "learning rate")] == [1, 5]
    orphan = row(5, 7, 9e-5, 16, "mutant", 4, 0.9, 4)
    assert [step.round for step in ancestry([orphan], orphan, "learning rate")] == [5]


@pytest.mark.parametrize("fitness", [None, float("nan"), float("inf")])
def test_a_round_without_a_finite_fitness_has_no_best(fitness: float | None) -> None:
    assert best_of_last_round([replace(FAMILY[-1], fitness=fitness)]) is None
    assert best_of_last_round([]) is None


@pytest.mark.parametrize("deal", ["owner", "index"])
def test_in_a_real_run_every_step_is_its_parents_gene_times_the_factor(
    tmp_path: Path, deal: str
) -> None:
    settings = {"deal": deal, "init": "probe"}
    run = play(
        tmp_path / "run", run={"rounds": 5}, cohort={"resample": True}, **{"genetic-cfl": settings}
    )
    rows = [r for r in load(run.path).clients if r.strategy == "genetic-cfl" and r.origin]
    last = max(r.round for r in rows)
    inherited = moved = 0
    for holder in (r for r in rows if r.round == last):
        for gene in ("learning rate", "batch size"):
            steps = ancestry(rows, holder, gene)  # type: ignore[arg-type]
            assert steps[0].origin in ("random", "probe")
            for before, after in zip(steps, steps[1:], strict=False):
                expected = before.value * after.factor
                if before.round == 0:  # the probe's gene was moved by half a step of its grid
                    base = 10 if gene == "learning rate" else 2
                    assert abs(math.log(after.value / expected, base)) < 0.51
                    moved, told = moved + 1, tell(steps, ".3g")
                    continue
                assert after.value == pytest.approx(expected, rel=1e-12)
                inherited += before.client != after.client
    assert inherited > 0 and moved > 0
    assert "(probe)" in told[0] and told[1].endswith("after the probe's gene was moved a little.")


def test_who_draws_anew_each_round_inherits_nothing() -> None:
    rows = [row(1, 3, 1e-4, 16, "drawn"), row(2, 3, 2e-4, 16, "drawn")]
    assert tell(ancestry(rows, rows[-1], "learning rate"), "g") == [
        "Round 2: client 3 draws 0.0002.",
    ]
    assert {evolution.SYMBOLS[origin] for origin in ("random", "drawn")} == {"circle"}
    assert {evolution.SYMBOLS[origin] for origin in ("elite", "kept")} == {"star"}
