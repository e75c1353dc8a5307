"""One strategy at several settings in one run: each plays as if its section said so; resumed."""

import re
from pathlib import Path

import pytest
from runs import FLAGS, comparable, finish, play, rows, start

from fedgen.runs.run import Run

NAMED = {
    "fedavg@1e-2": ("fedavg", {"fedavg": {"learning_rate": 1e-2}}),
    "genetic-cfl@rates=[1e-3,1e-2]@elites=1/fedprox@mu=0.5": (
        "genetic-cfl/fedprox",
        {"genetic-cfl": {"rates": [1e-3, 1e-2], "elites": 1}, "fedprox": {"mu": 0.5}},
    ),
    "centralised@batch_size=16@1e-2": (
        "centralised",
        {"centralised": {"batch_size": 16, "learning_rate": 1e-2}},
    ),
}
NAMES = ["fedavg", *NAMED]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "several"
    return play(out, run={"rounds": 2, "strategies": NAMES})


def told(run: Path, name: str) -> list[dict[str, str]]:
    """Rows of one strategy, but for its name and the time."""
    return [
        {key: value for key, value in row.items() if key not in ("strategy", "seconds")}
        for file in ("rounds.csv", "clients.csv")
        for row in rows(run / file)
        if row["strategy"] == name
    ]


@pytest.mark.parametrize("name", NAMED)
def test_a_name_with_settings_plays_as_its_section_would(
    run: Run, name: str, tmp_path: Path
) -> None:
    bare, sections = NAMED[name]
    play(tmp_path / "bare", **sections, run={"rounds": 2, "strategies": [bare]})
    assert told(run.path, name) == told(tmp_path / "bare", bare) != told(run.path, "fedavg")


def test_names_with_settings_are_extended_and_reported(run: Run, tmp_path: Path) -> None:
    asked = ["compare", *FLAGS, "--rounds=1", f"--strategies={','.join(NAMES)}", "--out=run"]
    code, _, err = finish(start(asked, tmp_path))
    assert code == 0, err
    code, out, err = finish(start(["resume", "run", "--rounds=2"], tmp_path))
    assert code == 0, err
    assert comparable(tmp_path / "run") == comparable(run.path)
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(name in page for name in NAMES)
    assert "fedavg@1e-2" in re.sub(r"\s", "", out)
