"""Every sentence against rows made so that it would be wrong."""

from dataclasses import replace

from summaries import CONFIG, row

from fedgen.analysis.sentences import cost, endings, fair, place, rounds_played, sentences, standing
from fedgen.analysis.summary import summarise
from fedgen.report import tables
from fedgen.report.charts import contrasts
from fedgen.runs.rows import BUDGET, DIVERGED, EndedRow, RoundRow


def arm(name: str, seed: int, *rounds: tuple[float, int]) -> list[RoundRow]:
    """Rounds by accuracy and client-epochs."""
    return [
        replace(row(name, seed, n, accuracy, accuracy), client_epochs=spent)
        for n, (accuracy, spent) in enumerate(rounds)
    ]


def summary(
    rows: list[RoundRow], *ended: EndedRow, seeds: int = 2, classes: int = 10, **run: object
) -> dict:
    settings = {"seed": 0, "seeds": seeds, "strategies": ("fedavg", "fedprox"), **run}
    config = CONFIG.model_copy(update={"run": CONFIG.run.model_copy(update=settings)})
    return summarise(config, "digits", 1, rows, ended, classes)


def good(name: str, seed: int) -> list[RoundRow]:
    return arm(name, seed, (0.1, 0), (0.5, 10), (0.8, 10))


GOOD = [*good("fedavg", 0), *good("fedavg", 1)]
WHY = "round 1: 0 of 3 replies are usable"
DIVERGES = [EndedRow("fedprox", seed, 1, DIVERGED, WHY) for seed in (0, 1)]
START = [r for seed in (0, 1) for r in arm("fedprox", seed, (0.1, 0))]


def test_an_arm_that_diverged_limits_nobody_and_says_so() -> None:
    found = summary([*GOOD, *START], *DIVERGES)
    assert (found["equal_client_epochs"], found["target_accuracy"]) == (20, 0.8)
    assert found["strategies"]["fedprox"]["final_accuracy"]["values"] == [None, None]
    assert found["strategies"]["fedavg"]["accuracy_at_equal_client_epochs"]["mean"] == 0.8
    assert sentences(found) == []
    assert endings(found) == [
        "fedprox ended in round 1 on seeds 0, 1, and is not compared there: 0 of 3 replies are "
        "usable."
    ]
    assert standing(found, "fedprox") == "0 of 2; diverged in round 1 (seeds 0, 1)"
    assert standing(found, "fedavg") == "2"


def test_tables_without_a_column_of_rounds_say_how_an_arm_ended() -> None:
    found = summary([*GOOD, *START], *DIVERGES)
    assert place(found, "fedavg", 2) == "fedavg"
    assert place(found, "fedprox", 2) == "fedprox (diverged in round 1 on seeds 0, 1)"
    bought = [EndedRow("fedprox", 0, 1, BUDGET, "..."), EndedRow("fedavg", 0, 2, BUDGET, "...")]
    found = summary([*GOOD, *START], *bought, budget="bytes=9")
    assert place(found, "fedprox", 1) == (
        "fedprox (1 of 2 seeds; its budget ended it in round 1 on seed 0)"
    )
    assert place(found, "fedavg", 2) == "fedavg"  # it is compared


def test_a_seed_on_which_an_arm_diverged_stays_visible() -> None:
    rows = [*GOOD, *good("fedprox", 0), *START[1:]]
    found = summary(rows, DIVERGES[1])
    assert found["strategies"]["fedprox"]["final_accuracy"]["values"] == [0.8, None]
    (sentence,) = sentences(found)
    assert sentence == (
        "fedavg and fedprox are level in final test accuracy (one seed of 2: one observation, no "
        "interval), at a cost of 20 client-epochs each."
    )
    (_, body) = tables.results({"": found}).body
    assert body[1] == "0 to 2 of 2; diverged in round 1 (seed 1)"
    assert body[2] == "0.8000 (1 of 2 seeds)"


def test_a_seed_without_rows_is_null_in_its_place() -> None:
    rows = [r for seed in (0, 2) for r in arm("fedavg", seed, (0.1, 0), (0.9, 10))]
    found = summary(rows, seeds=3, strategies=("fedavg",))
    assert found["strategies"]["fedavg"]["final_accuracy"]["values"] == [0.9, None, 0.9]
    assert found["strategies"]["fedavg"]["final_accuracy"]["mean"] == 0.9
    assert endings(found) == ["fedavg has no finished round yet on seed 1."]
    (body,) = tables.results({"": found}).body
    assert body[2].endswith("(2 of 3 seeds)")


def test_an_arm_whose_budget_buys_no_round_is_not_compared() -> None:
    ended = [EndedRow("fedprox", s, 1, BUDGET, "bytes=9 is less than 12") for s in (0, 1)]
    found = summary([*GOOD, *START], *ended, budget="bytes=9")
    assert found["equal_client_epochs"] == 20
    assert sentences(found) == [] and "ended in round 1" in endings(found)[0]


def test_a_budget_that_buys_rounds_ends_an_arm_and_it_is_compared() -> None:
    ended = EndedRow("fedavg", 0, 2, BUDGET, "...")
    rows = arm("fedavg", 0, (0.1, 0), (0.5, 10))
    found = summary(rows, ended, seeds=1, strategies=("fedavg",), budget="client-epochs=15")
    assert found["strategies"]["fedavg"]["final_accuracy"]["values"] == [0.5]
    assert rounds_played(found, ["fedavg"]) == "1 of 2" and endings(found) == []
    assert standing(found, "fedavg") == "1 of 2; its budget ended it in round 2 (seed 0)"


def test_a_target_is_above_chance_and_above_every_start() -> None:
    low = [r for s in (0, 1) for r in arm("fedprox", s, (0.05, 0), (0.061, 10), (0.06, 10))]
    assert summary([*GOOD, *low])["target_accuracy"] is None
    still = [r for s in (0, 1) for r in arm("fedprox", s, (0.2, 0), (0.2, 10))]
    assert summary([*GOOD, *still])["target_accuracy"] is None


def test_rounds_to_a_target_are_whole_numbers_of_seeds() -> None:
    rows = [*good("fedavg", 0), *arm("fedavg", 1, (0.1, 0), (0.85, 10), (0.9, 10))]
    found = summary(rows, strategies=("fedavg",), target=0.8)
    table = tables.results({"": found})
    assert table.body[0][table.head.index("rounds to target")] == "2, 1"
    found = summary(rows, strategies=("fedavg",), target=0.85)
    table = tables.results({"": found})
    assert table.body[0][table.head.index("rounds to target")] == "not reached, 1"


def test_the_chart_of_differences_says_equal_cost_only_where_it_is() -> None:
    pooled = [r for s in (0, 1) for r in arm("centralised", s, (0.1, 0), (0.9, 1), (0.95, 1))]
    found = summary([*GOOD, *pooled], strategies=("fedavg", "centralised"))
    assert cost(found).startswith("after the last round, at another cost")
    assert (
        "within equal cost"
        not in contrasts.differences(
            [{**c, "interval": [-0.1, 0.3]} for c in fair(found)], cost(found)
        ).text
    )
    alike = [*good("fedprox", 0), *good("fedprox", 1)]
    assert cost(summary([*GOOD, *alike])) == "within equal cost"


def test_a_run_that_is_not_finished_has_no_final_accuracy() -> None:
    rows = [*GOOD, *(r for s in (0, 1) for r in arm("fedprox", s, (0.1, 0), (0.6, 10), (0.9, 10)))]
    (sentence,) = sentences(summary(rows, rounds=2))
    assert "points of final test accuracy" in sentence
    (sentence,) = sentences(summary(rows, rounds=5))
    assert "by 10.00 points of test accuracy after 2 of 5 rounds" in sentence


def test_who_is_named_first_has_the_sign_and_what_rounds_to_0_has_none() -> None:
    """A mean of exactly 0: differences of +1, -1 and 0, the first-named less the other."""
    others = [
        arm("fedprox", seed, (0.1, 0), (0.5, 10), (accuracy, 10))
        for seed, accuracy in enumerate((0.75, 0.85, 0.8))
    ]
    rows = [*GOOD, *good("fedavg", 2), *(r for mine in others for r in mine)]
    (sentence,) = sentences(summary(rows, seeds=3))
    assert sentence.startswith("fedavg and fedprox are level in final test accuracy (5.00, -5.00, ")
    assert "-0.00" not in sentence
    alike = [*good("fedprox", 0), *good("fedprox", 1)]
    (sentence,) = sentences(summary([*GOOD, *alike]))
    assert "(0.00, 0.00, 2 seeds, none of which differs)" in sentence


def test_an_unfinished_run_of_unequal_cost_does_not_tell_of_whole_runs() -> None:
    dear = [r for s in (0, 1) for r in arm("fedprox", s, (0.1, 0), (0.5, 20), (0.7, 20))]
    (sentence,) = sentences(summary([*GOOD, *dear], rounds=5))
    assert "as the rounds so far (2 of 5) cost 20 against 40." in sentence
    (sentence,) = sentences(summary([*GOOD, *dear], rounds=2))
    assert "as whole runs cost 20 against 40." in sentence


def test_a_seed_that_has_not_begun_has_not_missed_the_target() -> None:
    found = summary(arm("fedavg", 0, (0.1, 0), (0.9, 10)), strategies=("fedavg",), target=0.5)
    table = tables.results({"": found})
    assert table.body[0][table.head.index("rounds to target")] == "1"


def test_a_search_alone_is_no_target_either() -> None:
    """Its round 0 has cost, and has not trained."""
    searched = arm("fedavg", 0, (0.2, 72), (0.15, 10), (0.12, 10))
    assert summary(searched, seeds=1, strategies=("fedavg",))["target_accuracy"] is None
