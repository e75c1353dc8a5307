"""A run directory may be somebody else's: what stands in it is text, never markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from runs import FLAGS, finish, play, start

from fedgen import report
from fedgen.records import ClientRow, RoundRow, to_csv
from fedgen.run import Run, open_run

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

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def elements(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_hostile_strings_in_rows_and_settings_stay_text(run: Run, tmp_path: Path) -> None:
    """Every string of every row, and the provenance; the page has the elements it always has."""
    from dataclasses import fields, replace

    from fedgen.store import read_rows

    rows = read_rows(run.path, run.arms)

    def poison(row: RoundRow | ClientRow) -> RoundRow | ClientRow:
        text = [f.name for f in fields(row) if isinstance(getattr(row, f.name), str)]
        return replace(row, **{name: f"{getattr(row, name)}{HOSTILE}" for name in text})

    rounds = [poison(row) for row in rows["rounds.csv"]]
    clients = [poison(row) for row in rows["clients.csv"]]
    hostile = Run(run.path, run.config, {"dataset": HOSTILE, HOSTILE: HOSTILE})
    page = report.page(hostile, rounds, clients)  # type: ignore[arg-type]
    found, usual = (
        elements(page),
        elements(report.page(run, rows["rounds.csv"], rows["clients.csv"])),
    )
    assert "img" not in found.tags and "b" not in found.tags
    assert not found.handlers
    assert set(found.tags) == set(usual.tags)
    assert found.tags.count("script") == usual.tags.count("script")
    assert "&lt;img src=x" in page
    assert "<img src=x" not in re.sub(r"\\u003c", "", page)


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

    from fedgen.store import read_rows

    rows = read_rows(run.path, run.arms)
    clients = [replace(row, **change) for row in rows["clients.csv"]]
    assert "</html>" in report.page(run, rows["rounds.csv"], clients)


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
        report.write(open_run(tmp_path))


def test_the_page_says_who_is_ahead_with_intervals_and_equal_cost(tmp_path: Path) -> None:
    done = play(tmp_path / "run", run={"rounds": 1, "seeds": 2})
    page = (done.path / "report.html").read_text()
    assert re.search(
        r'<p class="lead">(fedavg|genetic-cfl) (is ahead of|and) .*\(95 % interval .* 2 seeds: too '
        r"few for a claim of significance\), at a cost of [0-9]+ client-epochs each\.</p>",
        page,
    )
    assert len(re.findall(r"<td>[0-9.]+ \[-?[0-9.]+,\s[0-9.]+\]</td>", page)) >= 6
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
