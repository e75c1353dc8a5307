"""A run directory may be somebody else's: what stands in it is text, never markup."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from packed import unpacked
from runs import FLAGS, finish, play, start

from fedgen.federation.resources import Resources
from fedgen.files.csv import to_csv
from fedgen.report import pages
from fedgen.report.charts import contrasts
from fedgen.report.results import Results, load
from fedgen.runs.rows import ClientRow, RoundRow
from fedgen.runs.run import Run
from strategies.evolution.variants import CONTROLS

HOSTILE = "</script><img src=x onerror=alert(1)><b>'\"&amp;"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return play(tmp_path_factory.mktemp("report") / "run", run={"rounds": 2}, faults={"nan": 1})


class Tags(HTMLParser):
    """Notes every element of a page, and its event handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.programs = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.programs += tag == "script" and not dict(attrs)


def elements(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_hostile_strings_in_rows_and_settings_stay_text(run: Run, tmp_path: Path) -> None:
    """Every string of every row, and the provenance; the page has the elements it always has."""
    from dataclasses import fields, replace

    from fedgen.runs.store import read_rows

    rows = read_rows(run.path, run.arms)

    def poison(row: RoundRow | ClientRow) -> RoundRow | ClientRow:
        text = [f.name for f in fields(row) if isinstance(getattr(row, f.name), str)]
        return replace(row, **{name: f"{getattr(row, name)}{HOSTILE}" for name in text})

    rounds = [poison(row) for row in rows["rounds.csv"]]
    clients = [poison(row) for row in rows["clients.csv"]]
    whole = load(run.path)
    extras = [[poison(row) for row in rows] for rows in (whole.evaluations, whole.partition)]
    hostile = Run(run.path, run.config, {"dataset": HOSTILE, HOSTILE: HOSTILE})
    page = unpacked(pages.one(Results(hostile, rounds, clients, *extras)))  # type: ignore[arg-type]
    found, usual = elements(page), elements(unpacked(pages.one(whole)))
    assert "img" not in found.tags and "b" not in found.tags
    assert not found.handlers
    assert {*found.tags} <= {*usual.tags}  # such strategies are not ranked
    assert found.programs == usual.programs == 1
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page and "</script><" in page


def test_a_run_that_was_passed_on_without_its_shards_is_drawn_from_its_csv_files(
    run: Run, tmp_path: Path
) -> None:
    passed_on = tmp_path / "theirs"
    passed_on.mkdir()
    for name in ("config.toml", "rounds.csv", "clients.csv"):
        (passed_on / name).write_bytes((run.path / name).read_bytes())
    path = passed_on / "clients.csv"
    path.write_text(path.read_text().replace("rejected:", "rejected: <script>alert(1)</script>"))
    code, out, _ = finish(start(["report", "theirs"], tmp_path))
    assert (code, out) == (0, "theirs/report.html\n")
    page = (passed_on / "report.html").read_text()
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert "Who holds what" not in page  # nobody passed the partition on


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("rounds.csv", b"", "expected the columns strategy,seed,round"),
        ("rounds.csv", b"\xff\xfe", "cannot be read"),
        ("clients.csv", b"a,b\n", "expected the columns strategy,seed,round,client"),
        ("config.toml", b"provenance = 3\n", r"expected a table \[provenance\]"),
        ("config.toml", b"[run]\nstrategies = ['<b>']\n", "unknown strategy '<b>'"),
    ],
)
def test_files_of_another_kind_are_one_line(
    run: Run, tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    for kept in ("config.toml", "rounds.csv", "clients.csv"):
        (tmp_path / kept).write_bytes((run.path / kept).read_bytes())
    (tmp_path / name).write_bytes(content)
    code, _, err = finish(start(["report", "."], tmp_path))
    assert code == 2 and len(err.splitlines()) == 1
    assert re.search(why, err)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": -1.0},
        {"batch_size": -3},
        {"learning_rate": float("nan"), "batch_size": 0},
        {"seed": 99},
        {"cluster": 10**15},
        {"status": "x" * 1000},
    ],
    ids=str,
)
def test_rows_that_make_no_sense_are_drawn_or_left_out(run: Run, change: dict) -> None:
    from dataclasses import replace

    from fedgen.runs.store import read_rows

    rows = read_rows(run.path, run.arms)
    clients = [replace(row, **change) for row in rows["clients.csv"]]
    assert "</html>" in pages.one(Results(run, rows["rounds.csv"], clients))


def test_a_report_is_not_drawn_without_an_arm_that_is_damaged(run: Run, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    for path in copy.glob("shards/fedavg-seed0/*.json"):
        path.write_bytes(b"{}")
    before = {path: path.read_bytes() for path in copy.glob("*.csv")}
    for command in ("report", "resume"):
        code, _, err = finish(start([command, "run"], tmp_path))
        assert code == 2 and "no checkpoint is whole" in err
    assert before == {path: path.read_bytes() for path in copy.glob("*.csv")}


def test_a_run_without_a_finished_round_has_nothing_to_draw(run: Run, tmp_path: Path) -> None:
    for name, kind in (("rounds.csv", RoundRow), ("clients.csv", ClientRow)):
        (tmp_path / name).write_text(to_csv([], kind, header=True))
    (tmp_path / "config.toml").write_bytes((run.path / "config.toml").read_bytes())
    from fedgen.errors import InputError

    with pytest.raises(InputError, match="no round is finished yet"):
        pages.write(tmp_path)


def test_the_page_says_who_is_ahead_with_intervals_and_equal_cost(tmp_path: Path) -> None:
    done = play(tmp_path / "run", run={"rounds": 1, "seeds": 2})
    page = (done.path / "report.html").read_text()
    assert re.search(
        r'<p class="lead">(fedavg|genetic-cfl) is best: a test accuracy of [0-9.]+&nbsp;% at '
        r"equal cost \([0-9]+ client-epochs\), [0-9.]+ points ahead of (fedavg|genetic-cfl); "
        r"ahead on [12] of 2 seeds, too few to be sure\.</p>",
        page,
    )
    assert len(re.findall(r"<td>[0-9.]+ \([0-9.]+, [0-9.]+\)</td>", page)) >= 6
    assert "accuracy at equal client epochs" in page


def test_a_private_run_says_what_it_may_claim_in_the_terminal(tmp_path: Path) -> None:
    arguments = ["compare", *FLAGS, "--rounds=1", "--out=run", "--set=privacy.kind=local"]
    code, out, err = finish(start([*arguments, "--set=privacy.noise_multiplier=8"], tmp_path))
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    assert "genetic-cfl: no epsilon at delta 1e-05: the strategy selects" in text
    assert re.search(r"fedavg: epsilon [0-9.]+ at delta 1e-05: of one client towards the", text)


def test_a_private_run_says_what_it_may_claim(tmp_path: Path) -> None:
    private = {"kind": "central", "noise_multiplier": 4.0}
    done = play(tmp_path / "run", privacy=private, run={"rounds": 2})
    page = (done.path / "report.html").read_text()
    assert "noise multiplier" in page
    assert "the strategy selects hyperparameters on losses" in page  # genetic-cfl
    assert "2 global models from one cohort" in page  # fedavg
    import json

    summary = json.loads((done.path / "summary.json").read_text())["strategies"]
    assert summary["genetic-cfl"]["privacy"]["epsilon"] is None
    assert 0 < summary["fedavg"]["privacy"]["epsilon"] < 10
    assert summary["fedavg"]["privacy"]["noise_multiplier"] == 4.0


def test_a_strategy_that_came_after_a_run_is_no_difference(run: Run, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(run.path, older)
    text = (older / "config.toml").read_text()
    cut = re.sub(r"\[cyclic\]\n(?:.+\n)+\n", "", text).replace("eps = 0.15", "eps = 0.2")
    assert "[cyclic]" in text and "[cyclic]" not in cut
    (older / "config.toml").write_text(cut)
    page = pages.write_several([run.path, older], tmp_path / "both.html").read_text()
    differing = page.rpartition("Settings that differ")[2]
    assert "genetic-cfl.eps" in differing and "cyclic." not in differing


def test_several_runs_are_laid_side_by_side(run: Run, tmp_path: Path) -> None:
    other = play(tmp_path / "other", run={"rounds": 1, "strategies": ["fedavg"]})
    arguments = ["report", str(run.path), str(other.path)]
    code, out, err = finish(start(arguments, tmp_path))
    assert (code, out, err) == (0, "report.html\n", "")
    page = (tmp_path / "report.html").read_text()
    for text in (
        "run: genetic-cfl",
        "run: fedavg",
        "other: fedavg",
        "run.strategies",
        "faults.nan",
    ):
        assert f">{text}</th>" in page
    assert ">training.local_epochs</th>" not in page  # it does not differ
    code, out, _ = finish(start([*arguments, "--out", "both.html"], tmp_path))
    assert (code, out) == (0, "both.html\n") and (tmp_path / "both.html").exists()
    code, _, err = finish(start(["report", str(run.path), "nowhere"], tmp_path))
    assert code == 2 and "nowhere: not a run directory" in err


def test_reasons_are_grouped_and_long_lists_cut() -> None:
    from shards import client_row

    from fedgen.report.tables import unused

    rows = [client_row(number, client) for number in (1, 2) for client in range(20)]
    assert unused(rows).body == [["fedavg", "40", "1, 2", "20 of 0 to 19", 'rejected: "a",\nb']]


def test_the_worst_tenth_is_the_mean_of_the_worst_clients_over_seeds() -> None:
    from fedgen.report.tables import worst_tenth
    from fedgen.runs.rows import EvaluationRow

    def rows(seed: int, accuracies: list[float]) -> list[EvaluationRow]:
        return [EvaluationRow("a", seed, 1, c, 10, v, 1.0) for c, v in enumerate(accuracies)]

    # Eleven clients: the worst two. Means 0.15 and 0.25, over seeds 0.2.
    first = [0.5] * 9 + [0.1, 0.2]
    found = worst_tenth(rows(0, first) + rows(1, [v + 0.1 for v in first])).body
    # Of the first seed, squares sum up to 2.3: a spread of sqrt(2.3 / 11 - (4.8 / 11)^2), which is
    # the second's as well; Jain's indices are 4.8^2 / (11 x 2.3) and 5.9^2 / (11 x 3.37).
    assert found == [["a", "11", "0.4864", "0.1367", "0.2000", "0.1500", "0.5500", "0.9249"]]


def test_final_models_are_evaluated_on_every_client_and_the_partition_is_kept(run: Run) -> None:
    """Rows against the saved model and the data, without the engine."""
    import keras
    import numpy as np

    from fedgen.data import datasets

    whole = load(run.path)
    data, partition = datasets.load(run.config.data), Resources(run.config).partition(0)
    model = keras.models.load_model(run.path / "models" / "fedavg-seed0.keras")
    mine = [row for row in whole.evaluations if row.strategy == "fedavg"]
    assert [row.client for row in mine] == list(range(12)) and {row.round for row in mine} == {2}
    for row, held, shard in zip(mine, whole.partition, partition.clients, strict=True):
        pixels = data.x_train[shard.validation].astype(np.float32) * data.scale
        guesses = np.argmax(model.predict(pixels, verbose=0), axis=1)
        expected = float(np.mean(guesses == data.y_train[shard.validation]))
        assert row.samples == len(shard.validation) and row.accuracy == pytest.approx(expected)
        assert (held.train, held.validation) == (len(shard.train), len(shard.validation))
        assert held.counts == np.bincount(data.y_train[shard.train], minlength=10).tolist()


def test_the_loss_comes_first_after_what_decides(run: Run) -> None:
    drawn = re.findall('id="chart-([a-z_0-9]+)" ', pages.one(load(run.path)))
    assert drawn[:2] == ["accuracy", "loss"] and "macro_f1" in drawn[2:]


def test_a_page_of_many_seeds_tells_three_and_says_how_to_see_the_others(run: Run) -> None:
    from dataclasses import replace

    whole = load(run.path)

    def again(rows: list, seeds: int) -> list:
        return [replace(row, seed=seed) for seed in range(seeds) for row in rows]

    four = [again(list(r), 4) for r in (whole.rounds, whole.clients, whole.evaluations)]
    many = Results(run, *four, again(list(whole.partition), 4))
    assert "rates-genetic-cfl-seed3" in many.charts and many.figure("labels-seed3").data
    page = unpacked(pages.one(many))
    assert "Told of 3 of 4 seeds" in page
    assert 'id="chart-rates-genetic-cfl-seed2"' in page
    assert 'id="chart-rates-genetic-cfl-seed3"' not in page
    assert "Told of" not in pages.one(whole)


def test_differences_are_drawn_by_hand_best_on_top() -> None:
    def comparison(name: str, mean: float, interval: list[float]) -> dict:
        values = [mean] * 5
        return {
            **{"strategy": name, "baseline": "<b>", "mean": mean, "interval": interval},
            **{"values": values, "p": None},
        }

    chart = contrasts.differences(
        [
            comparison("worse", -0.02, [-0.03, -0.01]),
            comparison("better", 0.05, [0.01, 0.09]),
            comparison("level", 0.01, [-0.01, 0.03]),
        ],
        "within equal cost",
    )
    (drawn,) = chart.figure.data
    assert drawn.y == ("worse", "level", "better")
    assert drawn.x == pytest.approx((-2, 1, 5))
    assert drawn.error_x.array == pytest.approx((1, 2, 4))
    assert drawn.error_x.arrayminus == pytest.approx((1, 2, 4))
    assert drawn.marker.symbol == ("circle", "circle-open", "circle")
    assert chart.table.body[0] == ["better", "+5.00", "+1.00 to +9.00", "5", "none"]
    assert chart.text.endswith("better +5.00, level +1.00, worse -2.00.")
    assert "95 % intervals, filled where" in chart.text
    assert "<b>" not in chart.figure.layout.xaxis.title.text


def test_few_seeds_are_drawn_in_place_of_their_interval() -> None:
    few = {"strategy": "b", "baseline": "a", "mean": 0.02, "values": [0.01, 0.03], "p": None}
    chart = contrasts.differences([few | {"interval": [0.015, 0.025]}], "within equal cost")
    mean, seeds = chart.figure.data
    assert mean.error_x.array == (0.0,) and mean.marker.symbol == ("circle-open",)
    assert seeds.x == pytest.approx((1, 3)) and seeds.y == ("b", "b")
    assert chart.table.head == ["strategy", "points", "every seed", "seeds", "p after Holm"]
    assert chart.table.body == [["b", "+2.00", "+1.00, +3.00", "2", "none"]]
    assert "95 %" not in chart.text and "with the seeds where they are fewer" in chart.text


def test_a_page_of_many_strategies_is_short_where_it_can_be(tmp_path: Path) -> None:
    names = ["genetic-cfl", *(f"genetic-cfl+{name}" for name in CONTROLS), "random-search"]
    assert len(names) == pages.TOLD_STRATEGIES + 1 > pages.FEW
    many = play(tmp_path / "run", run={"rounds": 1, "seeds": 2, "strategies": names})
    page = unpacked((many.path / "report.html").read_text())
    assert "<h1>7 strategies on " in page and page.count('class="lead"') == 1
    assert page.count('<tr class="') == 7 and "Each against genetic-cfl, in words" in page
    assert 'id="chart-differences"' in page and "Differences to genetic-cfl" in page
    assert 'id="chart-rates-genetic-cfl-elites-only-seed1"' in page
    assert 'id="chart-rates-random-search-seed0"' not in page
    told = re.search(r"Not told here: random-search\. .*figure\(&#x27;(.*?)&#x27;\)", page)
    told = told or re.search(r"Not told here: random-search\. .*figure\('(.*?)'\)", page)
    assert told is not None and load(many.path).figure(told[1]).data


def test_one_seed_has_no_interval_to_draw(run: Run) -> None:
    assert "differences" not in load(run.path).charts


def test_hostile_names_in_the_ranking_stay_text() -> None:
    from fedgen.analysis.ranking import Place, Ranking
    from fedgen.config.metrics import ACCURACY
    from fedgen.report.podium import podium, table

    places = [Place(n, f"{HOSTILE}/{n}", 0.5 / n, [0.5 / n], None, 10, None) for n in (1, 2)]
    places[1] = Place(2, HOSTILE, 0.25, [0.25], None, 10, _lead())
    names = [place.name for place in places]
    ranked = Ranking(ACCURACY, [0], None, "client-epochs", "key", places, {HOSTILE: HOSTILE}, names)
    for page in (podium(ranked), table({HOSTILE: ranked, "other": ranked})):
        found = elements(page)
        assert not found.handlers and not {"img", "b", "script"} & {*found.tags}
        assert "&lt;img src=x" in page


def _lead() -> object:
    from fedgen.analysis.statistics import Comparison

    return Comparison(HOSTILE, HOSTILE, (-0.25,), -0.25, None, 1, None)
