"""Who wins, by hand: the order, what it is measured at, how sure, and who is not ranked."""

from dataclasses import replace

import pytest
from summaries import CONFIG, row

from fedgen.analysis import statistics
from fedgen.analysis.ranking import dearer, ranking, winner, written
from fedgen.analysis.summary import summarise
from fedgen.runs.rows import BUDGET, DIVERGED, EndedRow, RoundRow


def arm(name: str, seed: int, accuracies: list[float], epochs: int = 10) -> list[RoundRow]:
    return [
        replace(row(name, seed, number, value, value), client_epochs=epochs if number else 0)
        for number, value in enumerate(accuracies)
    ]


def summary(rows: list[RoundRow], *ended: EndedRow, **run: object) -> dict:
    names = tuple(dict.fromkeys(row.strategy for row in rows))
    seeds = len({row.seed for row in rows})
    settings = {"seed": 0, "seeds": seeds, "strategies": names, "rounds": 2, **run}
    config = CONFIG.model_copy(update={"run": CONFIG.run.model_copy(update=settings)})
    return summarise(config, "digits", 1, rows, ended, 10)


def test_the_best_at_equal_cost_comes_first() -> None:
    rows = [
        *arm("fedavg", 0, [0.1, 0.5, 0.6]),
        *arm("fedprox", 0, [0.1, 0.4, 0.9]),
        *arm("pbt", 0, [0.1, 0.3, 0.7]),
    ]
    found = ranking(summary(rows))
    assert [(p.number, p.name, p.mean) for p in found.places] == [
        (1, "fedprox", 0.9),
        (2, "pbt", 0.7),
        (3, "fedavg", 0.6),
    ]
    assert (found.at, found.seeds, found.others) == (None, [0], {})
    assert found.places[0].behind is None
    assert found.places[1].behind.mean == pytest.approx(-0.2)
    assert winner(found) == (
        "fedprox is best: a test accuracy of 90.00 % at equal cost (20 client-epochs), 20.00 "
        "points ahead of pbt; one seed proves nothing."
    )
    assert dearer(found) == ""


def test_where_costs_differ_the_last_round_within_the_least_of_them_counts() -> None:
    rows = [*arm("fedavg", 0, [0.1, 0.5, 0.6]), *arm("cyclic", 0, [0.1, 0.55, 0.9], epochs=20)]
    found = ranking(summary(rows))
    assert [(p.name, p.mean, p.spent) for p in found.places] == [
        ("fedavg", 0.6, 20),
        ("cyclic", 0.55, 40),
    ]
    assert found.at == 20
    assert "at equal cost (20 client-epochs), 5.00 points ahead of cyclic" in winner(found)
    assert dearer(found) == "Whole runs cost more: cyclic (40); what is beyond does not count here."


def test_what_leads_is_as_sure_as_its_seeds() -> None:
    """Of 8 seeds, all the same way: 2 / 2^8, once for one lead, twice for the picked winner."""
    rows = []
    for seed in range(8):
        rows += arm("fedavg", seed, [0.1, 0.5, 0.6 + seed / 1000])
        rows += arm("fedprox", seed, [0.1, 0.5, 0.7 + seed / 500])
    found = ranking(summary(rows))
    lead = found.places[1].behind
    assert lead.p == pytest.approx(2 * 2 / 2**8)
    assert found.places[0].interval == statistics.interval(found.places[0].values, (0, 1))
    assert winner(found).endswith("; ahead on 8 of 8 seeds, p = 0.016 after correction: sure.")
    three = ranking(summary([r for r in rows if r.seed < 3]))
    assert winner(three).endswith("; ahead on 3 of 3 seeds, too few to be sure.")
    # The largest of nine differences is the other way: 33 of 2^9 signs come to at most its rank.
    mixed = [*arm("fedprox", 8, [0.1, 0.5, 0.1]), *arm("fedavg", 8, [0.1, 0.5, 0.9])]
    assert "ahead on 8 of 9 seeds, p = 0.26 after correction: not sure" in winner(
        ranking(summary([*rows, *mixed]))
    )


def test_whoever_is_level_shares_the_first_place() -> None:
    same = [0.1, 0.5, 0.8]
    rows = [*arm("fedavg", 0, same), *arm("pbt", 0, [0, 0, 0.2]), *arm("fedprox", 0, same)]
    found = ranking(summary(rows))
    assert [(p.number, p.name) for p in found.places] == [(1, "fedavg"), (1, "fedprox"), (3, "pbt")]
    assert winner(found) == (
        "fedavg and fedprox are level: a test accuracy of 80.00 %, 20 client-epochs each."
    )


def test_who_is_not_ranked_is_named_with_why() -> None:
    rows = [
        *(r for seed in (0, 1) for r in arm("fedavg", seed, [0.1, 0.5, 0.6])),
        *(r for seed in (0, 1) for r in arm("centralised", seed, [0.1, 0.9, 0.99], epochs=1)),
        *arm("pbt", 0, [0.1, 0.8, 0.9]),
        *arm("pbt", 1, [0.1]),
        *(r for seed in (0, 1) for r in arm("fedprox", seed, [0.1, 0.5, 0.7])),
    ]
    ended = EndedRow("pbt", 1, 1, DIVERGED, "0 of 3 replies are usable")
    found = ranking(summary(rows, ended))
    assert [p.name for p in found.places] == ["fedprox", "fedavg"]
    assert found.others == {"centralised": "trained on pooled data", "pbt": "no result on seed 1"}


def test_seeds_that_somebody_has_yet_to_play_do_not_count() -> None:
    rows = [*arm("fedavg", 0, [0, 0.5]), *arm("fedavg", 1, [0, 0.9]), *arm("pbt", 0, [0, 0.6])]
    found = ranking(summary(rows))
    assert found.seeds == [0] and [p.name for p in found.places] == ["pbt", "fedavg"]


def test_a_search_that_has_spent_the_budget_is_not_ranked() -> None:
    rows = [*arm("fedavg", 0, [0.1, 0.5, 0.6]), *arm("fedavg-tuned", 0, [0.1])]
    ended = EndedRow("fedavg-tuned", 0, 1, BUDGET, "nothing is left")
    found = ranking(summary(rows, ended, budget="client-epochs=25"))
    assert [p.name for p in found.places] == ["fedavg"]
    assert found.others == {"fedavg-tuned": "no result on seed 0"}
    assert winner(found) == "fedavg: a test accuracy of 60.00 % for 20 client-epochs."


def test_a_metric_of_which_less_is_better_is_ranked_upwards() -> None:
    rows = [*arm("fedavg", 0, [0.1, 0.5, 0.6]), *arm("fedprox", 0, [0.1, 0.5, 0.9])]
    found = ranking(summary(rows, metric="loss"))
    assert [p.name for p in found.places] == ["fedprox", "fedavg"], "test losses 1.1 and 1.4"
    assert written(found, found.places[0].mean) == "1.1"
    assert "a test loss of 1.1 at equal cost (20 client-epochs), 0.3 ahead of fedavg" in winner(
        found
    )


def test_where_nobody_has_a_figure_nobody_wins() -> None:
    found = ranking(summary([], strategies=("fedavg", "pbt"), seeds=1))
    assert found.places == () and found.others == dict.fromkeys(("fedavg", "pbt"), "not begun yet")
    assert winner(found) == "No strategy has a figure at equal cost yet."
    alone = ranking(summary(arm("centralised", 0, [0.1, 0.5, 0.9])))
    assert alone.places == () and alone.others == {"centralised": "trained on pooled data"}


def test_a_search_that_is_dearer_on_some_seeds_is_not_ranked_by_the_others() -> None:
    """Round 0 costs 30, 10 and 30 where others have spent 20: the good seed must not decide."""
    rows = []
    for seed, search in enumerate((30, 10, 30)):
        rows += arm("fedavg", seed, [0.1, 0.5, 0.6])
        tuned = arm("fedavg-tuned", seed, [0.1, 0.8, 0.95])
        rows += [replace(tuned[0], client_epochs=search), *tuned[1:]]
    found = ranking(summary(rows))
    assert [place.name for place in found.places] == ["fedavg"] and found.seeds == [0, 1, 2]
    assert found.others == {"fedavg-tuned": "no figure within 20 client-epochs on seeds 0, 2"}


def test_while_somebody_has_yet_to_begin_nobody_is_ahead() -> None:
    rows = [*arm("fedavg", 0, [0.1, 0.5]), *arm("fedprox", 0, [0.1, 0.7]), *arm("pbt", 0, [0.1])]
    found = ranking(summary(rows))
    assert found.places == () and found.others["pbt"] == "not begun yet"
    assert {found.others[name] for name in ("fedavg", "fedprox")} == {
        "not everybody has trained yet"
    }


def test_strategies_without_a_common_seed_are_not_ranked_and_not_lost() -> None:
    found = ranking(summary([*arm("fedavg", 0, [0.1, 0.5]), *arm("pbt", 1, [0.1, 0.5])]))
    assert found.places == ()
    assert {*found.others} == {"fedavg", "pbt"}


def test_a_last_round_that_was_not_evaluated_is_no_figure() -> None:
    skipped = arm("cyclic", 0, [0.1, 0.7, 0.9], epochs=20)
    skipped[1] = replace(skipped[1], test_accuracy=None, test_loss=None, validation_accuracy=None)
    found = ranking(summary([*arm("fedavg", 0, [0.1, 0.5, 0.6]), *skipped]))
    assert found.others == {"cyclic": "no figure within 20 client-epochs on seed 0"}
