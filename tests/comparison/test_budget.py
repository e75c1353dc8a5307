"""Equal cost: what arms may spend, where they end, and how they are compared."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from runs import comparable, finish, play, rows, start
from shards import new_shard, round_row
from summaries import CONFIG, row

from fedgen.analysis.sentences import sentences
from fedgen.analysis.summary import summarise
from fedgen.comparison import flow, opening
from fedgen.config import budget
from fedgen.config.budget import Budget
from fedgen.config.tree import Arm, build
from fedgen.errors import InputError
from fedgen.runs import costs
from fedgen.runs.rows import BUDGET, EndedRow, RoundRow
from fedgen.runs.run import Run, finished_how, is_finished, open_run
from fedgen.runs.watch import Watcher

PROBED = {"genetic-cfl": {"init": "probe"}}
STRATEGIES = ["genetic-cfl", "fedavg"]


def test_budgets_are_read() -> None:
    assert budget.parse("") is None
    assert budget.parse("client-epochs=600") == Budget("client-epochs", 600.0)
    assert budget.parse(" bytes = 1e9 ") == Budget("bytes", 1e9)
    assert str(Budget("samples", 1_234_567.0)) == "1,234,567 samples"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "client-epoch=600",
            "unknown unit of a budget 'client-epoch': did you mean 'client-epochs'",
        ),
        ("fortnights=2", "expected one of client-epochs, samples, bytes, simulated-seconds"),
        ("600", "expected UNIT=AMOUNT, as in client-epochs=600, received '600'"),
        ("samples=0", "expected an amount greater than 0, received 'samples=0'"),
        ("samples=-1", "greater than 0"),
        ("samples=nan", "greater than 0"),
        ("samples=inf", "greater than 0"),
        ("samples=many", "greater than 0"),
        ("simulated-seconds=9", "needs devices.speed 'uniform' or 'lognormal', received 'none'"),
    ],
)
def test_what_is_no_budget_is_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        build({"run": {"budget": text}})
    assert said in str(error.value) and error.value.exit_code == 2


def test_costs_by_hand() -> None:
    one = replace(round_row(1), client_epochs=4, samples=8, bytes_down=1, bytes_up=2)
    two = replace(one, simulated_seconds=1.5)
    for unit, cost in {"client-epochs": 8, "samples": 16, "bytes": 6}.items():
        assert costs.spent([one, two], unit) == [cost / 2, cost]
    assert costs.spent([one, two], "simulated-seconds") == [0.0, 1.5]
    assert costs.left(Budget("samples", 20.0), [one, two]) == 4.0


def test_a_shard_remembers_that_it_stopped_until_another_round_is_played(tmp_path: Path) -> None:
    shard = new_shard(tmp_path, 3)
    assert shard.stopped("samples=9") is None
    shard.stop("samples=9", 12.0, tried=True)
    assert shard.stopped("samples=9") == 12.0
    assert shard.stopped("samples=99") is None
    note = shard.folder / "stopped.json"
    for content in (b"", b"[]", b'{"budget": "samples=9", "round": 1, "spent": 12}', b"[" * 10**5):
        note.write_bytes(content)
        assert shard.stopped("samples=9") is None


@pytest.mark.parametrize(
    ("spent", "tried", "why"),
    [
        (12.0, True, "samples=9 is less than the 12 of all rounds up to this one"),
        (9.0, False, "the rounds before it cost 9, so nothing is left of samples=9"),
    ],
)
def test_how_a_budget_ended_an_arm(tmp_path: Path, spent: float, tried: bool, why: str) -> None:
    which = Arm(build({"run": {"budget": "samples=9", "rounds": 9}}), "fedavg", 0)
    shard = new_shard(tmp_path, 3, which)
    shard.stop("samples=9", spent, tried=tried)
    ended = shard.ended()
    assert ended is not None and ended.why == why


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A round costs 6 client-epochs, the probe 36: two rounds behind the probe, or eight, in 50."""
    settings = {"rounds": 30, "strategies": STRATEGIES, "budget": "client-epochs=50"}
    return play(tmp_path_factory.mktemp("runs") / "run", run=settings, **PROBED)


def go_on(path: Path, rounds: int | None = None) -> None:
    with opening.resumed(path, rounds) as (again, held):
        flow.play(again, held, Watcher())


def last_rounds(run: Path) -> dict[str, int]:
    return {row["strategy"]: int(row["round"]) for row in rows(run / "rounds.csv")}


def test_every_strategy_ends_at_its_last_whole_round_within_the_budget(run: Run) -> None:
    assert last_rounds(run.path) == {"genetic-cfl": 2, "fedavg": 8}
    clients = rows(run.path / "clients.csv")
    assert {int(c["round"]) for c in clients if c["strategy"] == "fedavg"} == set(range(1, 9))
    summary = json.loads((run.path / "summary.json").read_text())
    assert (summary["budget"], summary["equal_client_epochs"]) == ("client-epochs=50", 50)
    for figures in summary["strategies"].values():
        assert figures["client_epochs"]["values"] == [48]
        assert figures["accuracy_at_equal_client_epochs"] == figures["final_accuracy"]
    told = "budget client-epochs=50: after round 0 no strategy plays a round beyond it"
    assert told in (run.path / "report.html").read_text()


def test_the_rounds_within_a_budget_are_those_without_one(run: Run, tmp_path: Path) -> None:
    free = play(tmp_path / "run", run={"rounds": 2, "strategies": STRATEGIES}, **PROBED)
    kept = ("test_accuracy", "client_epochs", "bytes_up", "train_loss")
    found, wanted = (
        [[r["strategy"], r["round"], *(r[k] for k in kept)] for r in rows(path / "rounds.csv")]
        for path in (run.path, free.path)
    )
    assert [line for line in found if int(line[1]) <= 2] == wanted


def test_a_run_whose_budget_is_reached_is_finished_and_resume_says_so(
    run: Run, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    assert is_finished(run)
    code, out, err = finish(start(["resume", "run"], tmp_path))
    assert (code, err) == (0, "")
    assert "already finished; its budget of client-epochs=50 is reached." in out
    assert comparable(tmp_path / "run") == comparable(run.path)
    # Without its note an arm finds out again, and leaves the same bytes.
    (tmp_path / "run/shards/fedavg-seed0/stopped.json").unlink()
    assert not is_finished(open_run(tmp_path / "run"))
    go_on(tmp_path / "run")
    assert comparable(tmp_path / "run") == comparable(run.path)
    assert is_finished(open_run(tmp_path / "run"))


def test_more_rounds_go_on_within_the_budget_to_the_same_bytes(run: Run, tmp_path: Path) -> None:
    settings = {"rounds": 3, "strategies": STRATEGIES, "budget": "client-epochs=50"}
    play(tmp_path / "run", run=settings, **PROBED)
    assert last_rounds(tmp_path / "run") == {"genetic-cfl": 2, "fedavg": 3}
    assert "1 of 2 arms" in finished_how(open_run(tmp_path / "run"))
    go_on(tmp_path / "run", rounds=30)
    assert comparable(tmp_path / "run") == comparable(run.path)


def test_where_nothing_is_left_no_round_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedgen.comparison.trainers import Federated

    played: list[int] = []
    step = Federated.step

    def counted(self: Federated, server_round: int, weights: list) -> object:
        played.append(server_round)
        return step(self, server_round, weights)

    monkeypatch.setattr(Federated, "step", counted)
    settings = {"rounds": 9, "strategies": ["fedavg"], "budget": "client-epochs=12"}
    play(tmp_path / "run", run=settings)
    assert played == [1, 2]
    settings["budget"] = "client-epochs=17"
    play(tmp_path / "other", run=settings)
    assert played == [1, 2, 1, 2, 3] and last_rounds(tmp_path / "other") == {"fedavg": 2}


def test_a_search_that_eats_the_budget_is_told_and_leaves_no_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"rounds": 9, "strategies": STRATEGIES, "budget": "client-epochs=30"}
    play(tmp_path / "run", run=settings, **PROBED)
    assert (
        "!!! genetic-cfl-seed0: nothing is left of the budget of 30 client-epochs, 36 are spent "
        "before round 1; it is not compared\n"
    ) in capsys.readouterr().err
    assert last_rounds(tmp_path / "run") == {"genetic-cfl": 0, "fedavg": 5}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["equal_client_epochs"] == 30
    found = {k: v["accuracy_at_equal_client_epochs"] for k, v in summary["strategies"].items()}
    assert found["genetic-cfl"]["values"] == [None] and found["fedavg"]["values"] != [None]


def test_a_budget_that_no_strategy_can_begin_with_is_an_error(tmp_path: Path) -> None:
    settings = {"rounds": 9, "strategies": STRATEGIES, "budget": "client-epochs=5"}
    with pytest.raises(InputError) as error:
        play(tmp_path / "run", run=settings, **PROBED)
    assert str(error.value) == (
        "run.budget = 'client-epochs=5': round 1 fits for no strategy; fedavg-seed0, the cheapest, "
        "has spent at least 6 client-epochs by then"
    )


def arm(name: str, seed: int, *rounds: tuple[float, int]) -> list[RoundRow]:
    """Rounds by accuracy and client-epochs."""
    return [
        replace(row(name, seed, n, accuracy, accuracy), client_epochs=cost, samples=100 * cost)
        for n, (accuracy, cost) in enumerate(rounds)
    ]


def told(rows: list[RoundRow], **run: object) -> tuple[str, dict]:
    settings = CONFIG.run.model_copy(update={"seeds": 1, **run})
    last = {row.strategy: row.round for row in rows}
    ended = [EndedRow(name, 4, n + 1, BUDGET, "...") for name, n in last.items() if n]
    config = CONFIG.model_copy(update={"run": settings})
    summary = summarise(config, "digits", 1, rows, ended if settings.budget else [])
    (sentence,) = sentences(summary)
    return sentence, summary


UNEQUAL = [
    *arm("genetic-cfl", 4, (0.125, 20), (0.25, 10), (0.5, 10), (0.875, 10)),  # 50 in all
    *arm("fedavg", 4, (0.125, 0), (0.25, 10), (0.375, 10), (0.75, 10)),  # 30 in all
]


def test_strategies_of_unequal_cost_are_compared_at_equal_cost() -> None:
    """Within 30 client-epochs genetic-cfl has 0.25 and fedavg 0.75, whatever comes later."""
    assert told(UNEQUAL)[0] == (
        "fedavg is ahead of genetic-cfl by 50.00 points of test accuracy within equal cost "
        "(one seed: one observation, no interval): each after its last round within 30 "
        "client-epochs, as whole runs cost 30 against 50."
    )


def test_what_a_budget_leaves_over_cuts_nobody_short() -> None:
    """35 leave fedavg 5 and genetic-cfl 5 as well: both have spent it, both are at their end."""
    rows = [*UNEQUAL[:2], *UNEQUAL[4:]]
    sentence, summary = told(rows, budget="client-epochs=35")
    assert summary["equal_client_epochs"] == 35
    assert (
        "by 50.00 points of final test accuracy" in sentence and "30 client-epochs each" in sentence
    )
    uneven = [
        replace(r, client_epochs=9) if r.strategy == "fedavg" and r.round else r for r in rows
    ]
    sentence, summary = told(uneven, budget="client-epochs=35")
    assert summary["equal_client_epochs"] == 35  # 27 and 30 are spent
    assert "by 50.00 points of test accuracy within equal cost" in sentence
    assert "within 35 client-epochs, as whole runs cost 27 against 30" in sentence


def test_an_arm_that_could_not_begin_cuts_nobody_short() -> None:
    _, summary = told([*arm("genetic-cfl", 4, (0.125, 0)), *UNEQUAL[4:]], budget="client-epochs=35")
    assert summary["equal_client_epochs"] == 35
    found = {
        name: figures["accuracy_at_equal_client_epochs"]["values"]
        for name, figures in summary["strategies"].items()
    }
    assert found == {"genetic-cfl": [0.125], "fedavg": [0.75]}


def test_a_budget_of_another_unit_has_a_figure_of_its_own() -> None:
    sentence, summary = told(UNEQUAL, budget="samples=4000")
    assert summary["equal_budget"] == 3000  # fedavg could go on
    at_budget = {
        k: v["accuracy_at_equal_budget"]["values"] for k, v in summary["strategies"].items()
    }
    assert at_budget == {"genetic-cfl": [0.25], "fedavg": [0.75]}
    assert "within 3,000 samples, as whole runs cost 3,000 against 5,000" in sentence
    assert [c["metric"] for c in summary["comparisons"]][-1] == "accuracy_at_equal_budget"
