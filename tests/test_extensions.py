"""Strategies and models of a user's own: what they may be, and what is said when they are not."""

from pathlib import Path

import numpy as np
import pytest
from runs import comparable, finish, play, start

from fedgen import extensions, models
from fedgen.errors import InputError

MODULE = """
from keras import layers
from strategies.fedavg import FedAvg

class Own(FedAvg):
    def state(self):
        return {**super().state(), "mine": 3}

class Stranger: pass

number = 7

def fits(shape, classes):
    return [layers.Flatten(), layers.Dense(5, activation="relu"), layers.Dropout(0.5),
            layers.BatchNormalization(), layers.Dense(classes)]

def softmax(shape, classes):
    return [layers.Flatten(), layers.Dense(classes, activation="softmax")]

def narrow(shape, classes):
    return [layers.Flatten(), layers.Dense(classes - 1)]

def broken(shape, classes):
    return 1 / 0

def empty(shape, classes):
    return []
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module.py").write_text(MODULE)
    (tmp_path / "torn.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["a:b", "a.b.c:D", "_x:_y1"])
def test_names_of_ones_own(name: str) -> None:
    assert extensions.is_own(name)


@pytest.mark.parametrize("name", ["fedavg", "a:", ":b", "a:b:c", "../a:b", "a/b:c", "a b:c", "1:a"])
def test_other_names_are_none(name: str) -> None:
    assert not extensions.is_own(name)


@pytest.mark.parametrize(
    ("flag", "name", "why"),
    [
        ("--strategies", "nowhere:X", "module 'nowhere' cannot be imported from"),
        ("--strategies", "torn:X", "SyntaxError"),
        ("--strategies", "own_module:Y", "has no attribute 'Y'"),
        ("--strategies", "own_module:Stranger", "expected a subclass of strategies.fedavg.FedAvg"),
        ("--model", "own_module:number", "expected a function .* received int"),
        ("--model", "own_module:softmax", "expected 10 logits .* with activation softmax"),
        ("--model", "own_module:narrow", r"expected 10 logits .* received shape \(9,\)"),
        ("--model", "own_module:broken", "ZeroDivisionError"),
        ("--model", "own_module:empty", "cannot be built"),
        ("--model", "own_modle", "unknown model 'own_modle'.*"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_writes_nothing(
    flag: str, name: str, why: str, tmp_path: Path
) -> None:
    code, out, err = finish(
        start(["compare", "--dataset=digits", "--model=mlp", flag, name], tmp_path)
    )
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    import re

    assert re.search(why, err), err
    assert not (tmp_path / "runs").exists()


def test_an_own_model_starts_from_the_run_s_seed_and_leaves_the_generator_alone() -> None:
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    first, again, other = (
        models.build("own_module:fits", (8, 8, 1), 10, seed).get_weights() for seed in (0, 0, 1)
    )
    assert random.random() == expected
    assert [a.tobytes() for a in first] == [a.tobytes() for a in again]
    assert first[0].shape == (64, 5) and np.any(first[0] != other[0])


def test_a_run_with_ones_own_is_the_same_twice_and_can_be_resumed(tmp_path: Path) -> None:
    sections = {
        "run": {"rounds": 2, "strategies": ["own_module:Own", "fedavg"]},
        "model": {"name": "own_module:fits"},
    }
    first, again = (play(tmp_path / name, **sections) for name in ("first", "again"))
    assert comparable(first.path) == comparable(again.path)
    kept = [v for key, v in comparable(first.path).items() if key.startswith("own_module:Own")]
    assert len(kept) == 2 and all(state["mine"] == 3 for _, state in kept)  # type: ignore[misc]
    sections["run"] = {**sections["run"], "rounds": 1}
    half = play(tmp_path / "half", **sections)
    code, _, err = finish(start(["resume", str(half.path), "--rounds=2", "--quiet"], tmp_path))
    assert (code, err) == (0, "")
    assert comparable(half.path) == comparable(first.path)


def test_a_report_of_ones_own_imports_nothing_of_it_and_claims_no_privacy(tmp_path: Path) -> None:
    sections = {"run": {"rounds": 1, "strategies": ["own_module:Own"]}}
    run = play(tmp_path / "run", **sections, privacy={"kind": "central"})
    (tmp_path / "own_module.py").write_text("raise SystemExit(99)")
    code, _, err = finish(start(["report", "run"], tmp_path))
    assert (code, err) == (0, "")
    assert "fedgen cannot tell what its weights depend on" in (run.path / "report.html").read_text()


def test_an_unknown_name_is_compared_with_those_there_are() -> None:
    from fedgen.config import build

    with pytest.raises(InputError, match="did you mean 'fedavg'"):
        build({"run": {"strategies": ["fedavgs"]}})
