"""Strategies and models of a user's own: what they may be, and what is said when they are not."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import FLAGS, comparable, finish, play, start

from fedgen.config import plugins
from fedgen.engine import models
from fedgen.errors import InputError, RunError
from fedgen.federation.resources import Resources

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

def penalised(shape, classes):
    hidden = layers.Dense(5, activation="relu", kernel_regularizer="l2")
    return [layers.Flatten(), hidden, layers.Lambda(lambda x: x), layers.Dense(classes)]

def failing(shape, classes):
    fails = layers.Lambda(lambda x: 1 / 0, output_shape=lambda shape: shape)
    return [layers.Flatten(), layers.Dense(classes), fails]
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module.py").write_text(MODULE)
    (tmp_path / "torn.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["a:b", "a.b.c:D", "_x:_y1"])
def test_names_of_ones_own(name: str) -> None:
    assert plugins.is_own(name)


@pytest.mark.parametrize("name", ["fedavg", "a:", ":b", "a:b:c", "../a:b", "a/b:c", "a b:c", "1:a"])
def test_other_names_are_none(name: str) -> None:
    assert not plugins.is_own(name)


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
        ("--model", "own_module:empty", "expected Keras layers or a Keras model, received"),
        ("--model", "own_module:failing", "cannot be called .*ZeroDivisionError.*division by zero"),
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


@pytest.mark.parametrize(
    ("before", "after"), [('activation="relu"', 'activation="tanh"'), ('"mine": 3', '"mine": 4')]
)
def test_a_run_does_not_go_on_with_other_code_of_ones_own(
    before: str, after: str, tmp_path: Path
) -> None:
    sections = {
        "run": {"rounds": 1, "strategies": ["own_module:Own"]},
        "model": {"name": "own_module:fits"},
    }
    run = play(tmp_path / "run", **sections)
    module = tmp_path / "own_module.py"
    module.write_text(MODULE.replace(before, after))
    code, out, err = finish(start(["resume", "run", "--rounds=2"], tmp_path))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "cannot go on" in err and "code of own_module:" in err
    module.write_text(MODULE)
    code, _, err = finish(start(["resume", "run", "--rounds=2", "--quiet"], tmp_path))
    assert (code, err) == (0, "")
    assert run.provenance["code of own_module:fits"] == plugins.code_of("own_module:fits")


def test_nor_with_other_code_of_a_strategy_behind_a_slash(tmp_path: Path) -> None:
    run = play(tmp_path / "run", run={"rounds": 1, "strategies": ["pbt/own_module:Own"]})
    code = plugins.code_of("own_module:Own")
    assert code and run.provenance["code of own_module:Own"] == code
    (tmp_path / "own_module.py").write_text(MODULE.replace('"mine": 3', '"mine": 4'))
    code, out, err = finish(start(["resume", "run", "--rounds=2"], tmp_path))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "cannot go on" in err and "code of own_module:Own was" in err


def test_code_that_ones_own_module_imports_counts_and_that_of_packages_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "parts.py").write_text("WIDTH = 5")
    (tmp_path / "outer.py").write_text("import numpy\nfrom pack.parts import WIDTH\nnet = len\n")
    first = plugins.code_of("outer:net")
    assert plugins.code_of("outer:net") == first
    assert plugins.code_of("outer:other") != first
    (tmp_path / "pack" / "parts.py").write_text("WIDTH = 6")
    assert plugins.code_of("outer:net") != first
    found = {path.name for path in plugins._sources("outer", set())}
    assert found == {"outer.py", "parts.py", "__init__.py"}


def test_an_edited_model_of_the_same_name_is_noticed_in_one_process(tmp_path: Path) -> None:
    widths = tmp_path / "widths.py"
    text = "from keras import layers\nfrom {} import WIDTH\ndef net(shape, classes):\n"
    text += "    return [layers.Flatten(), layers.Dense(WIDTH), layers.Dense(classes)]\n"
    (tmp_path / "netted.py").write_text(text.format("widths"))
    run = {"rounds": 1, "strategies": ["fedavg"]}
    found = []
    for width in (5, 6):
        widths.write_text(f"WIDTH = {width}")
        played = play(tmp_path / f"run{width}", run=run, model={"name": "netted:net"})
        found.append(comparable(played.path))
    (tmp_path / "sixes.py").write_text("WIDTH = 6")
    (tmp_path / "anew.py").write_text(text.format("sixes"))
    wanted = play(tmp_path / "wanted", run=run, model={"name": "anew:net"})
    assert found[1] == comparable(wanted.path) != found[0]


def test_what_is_at_hand_has_a_name_in_this_process() -> None:
    import own_module

    def net(shape: object, classes: int) -> list[object]:
        return [classes]

    assert plugins.give(own_module.fits) == "own_module:fits"
    name = plugins.give(net)
    assert name == "__main__:net" and plugins.is_own(name)
    assert plugins.model(name) is net
    first = plugins.code_of(name)
    other = lambda shape, classes: [classes, 1]  # noqa: E731
    other.__qualname__ = "net"
    assert plugins.give(other) == name and plugins.model(name) is other
    assert plugins.code_of(name) != first
    with pytest.raises(InputError, match="other processes do not find"):
        plugins.model("__main__:nowhere")


class Net:
    """A model as a callable instance."""

    def __init__(self, units: int) -> None:
        self.units = units

    def __call__(self, shape: object, classes: int) -> list[object]:
        return [self.units, classes]

    def method(self, shape: object, classes: int) -> list[object]:
        return [self.units, classes]


def layers_of(units: int, shape: object, classes: int) -> list[object]:
    return [units, classes]


@pytest.mark.parametrize("make", [Net, lambda n: partial(layers_of, n), lambda n: Net(n).method])
def test_partials_instances_and_methods_are_models_by_what_they_hold(
    make: Callable[[int], Any],
) -> None:
    name = plugins.give(make(3))
    first = plugins.code_of(name)
    assert plugins.is_own(name) and plugins.model(name)((8, 8, 1), 10) == [3, 10]
    assert plugins.give(make(3)) == name and plugins.code_of(name) == first
    assert plugins.give(make(4)) == name and plugins.code_of(name) != first


def test_what_the_user_of_a_model_should_know_is_said(tmp_path: Path) -> None:
    arguments = [*FLAGS, "--model=own_module:penalised", "--rounds=1", "--strategies=fedavg"]
    code, _, err = finish(start(["compare", *arguments, "--out=run", "--jobs=2"], tmp_path))
    assert code == 0
    told = err.splitlines()
    assert len(told) == 2
    assert "train_loss is the loss and the 1 term(s) that the model adds" in told[0]
    assert "models are written as weights (.weights.h5)" in told[1] and "holds code" in told[1]
    (file,) = (tmp_path / "run" / "models").iterdir()
    assert file.name == "fedavg-seed0.weights.h5"


def test_arms_that_would_start_from_other_weights_do_not_play(tmp_path: Path) -> None:
    import tomllib

    from fedgen.comparison import flow
    from fedgen.config.toml import to_toml
    from fedgen.files import disk
    from fedgen.runs import run as runs
    from fedgen.runs.watch import Watcher

    sections = {"run": {"rounds": 1, "strategies": ["fedavg"]}}
    run = play(tmp_path / "run", **sections, model={"name": "own_module:fits"})
    tree = tomllib.loads((run.path / "config.toml").read_text())
    tree["provenance"]["weights of seed 0"] = "0" * 64
    disk.replace(run.path / "config.toml", to_toml(tree).encode())
    with pytest.raises(RunError, match="seed 0 starts from other weights in this process"):
        again = runs.open_run(run.path)
        flow.play(again, Resources(again.config), Watcher())


@pytest.mark.parametrize("existed", [False, True])
def test_a_run_that_never_began_leaves_nothing(existed: bool, tmp_path: Path) -> None:
    from fedgen.comparison import opening
    from fedgen.config.tree import build

    out = tmp_path / "deep" / "run"
    if existed:
        out.mkdir(parents=True)
    config = build({"data": {"dataset": "digits"}})
    with pytest.raises(KeyboardInterrupt), opening.created(Resources(config), out) as run:
        (run.path / "shards").mkdir()
        raise KeyboardInterrupt
    assert out.exists() == existed and not (existed and list(out.iterdir()))


def test_a_run_that_ends_before_its_first_round_says_that_nothing_is_kept(tmp_path: Path) -> None:
    arguments = ["--set=genetic-cfl.init=probe", "--set=faults.crash=6", "--strategies=genetic-cfl"]
    code, _, err = finish(start(["compare", *FLAGS, "--out=run", *arguments], tmp_path))
    assert code == 3 and "Traceback" not in err
    assert "no round was finished, so nothing is kept" in err
    assert not (tmp_path / "run").exists()


def test_an_unknown_name_is_compared_with_those_there_are() -> None:
    from fedgen.config.tree import build

    with pytest.raises(InputError, match="did you mean 'fedavg'"):
        build({"run": {"strategies": ["fedavgs"]}})


def test_a_module_that_was_edited_between_import_and_first_use_is_imported_anew(
    tmp_path: Path,
) -> None:
    """The old code ran under the new file's hash, and ``resume`` went on with other code."""
    module = tmp_path / "early.py"
    module.write_text("WIDTH = 5\ndef net(shape, classes):\n    return [WIDTH]\n")
    early = import_module("early")
    assert plugins.model("early:net")((8, 8, 1), 10) == [5]
    module = tmp_path / "edited.py"
    module.write_text("WIDTH = 5\ndef net(shape, classes):\n    return [WIDTH]\n")
    edited = import_module("edited")
    module.write_text("WIDTH = 16\ndef net(shape, classes):\n    return [WIDTH]\n")
    assert plugins.model(plugins.give(edited.net))((8, 8, 1), 10) == [16]
    assert early.net((8, 8, 1), 10) == [5]


@pytest.mark.parametrize("broken", ["def (\n", "WIDTH = 7\n1 / 0\n"])
def test_a_broken_edit_is_refused_as_often_as_it_is_tried(tmp_path: Path, broken: str) -> None:
    name = f"broken{len(broken)}"
    module = tmp_path / f"{name}.py"
    module.write_text("net = len\n")
    plugins.model(f"{name}:net")
    module.write_text(broken)
    for _ in range(2):
        with pytest.raises(InputError, match="cannot be imported"):
            plugins.model(f"{name}:net")
    module.write_text("net = str\n")
    assert plugins.model(f"{name}:net") is str


def test_a_module_in_an_installed_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "inst"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text("net = len\n")
    monkeypatch.syspath_prepend(package.parent)
    assert plugins.model("inst.nets:net") is len
    assert plugins.code_of("inst.nets:net")
    assert plugins.code_of("strategies.fedavg:FedAvg")


def test_what_pip_put_into_a_folder_is_not_the_users_and_what_lies_beside_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "put-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: put\nVersion: 1.0\n")
    (told / "RECORD").write_text("put/__init__.py,,\nput-1.0.dist-info/RECORD,,\n../bin/put,,\n")
    (tmp_path / "put").mkdir()
    installed, own = tmp_path / "put" / "__init__.py", tmp_path / "mine.py"
    installed.write_text("size = 1\n")
    own.write_text("import put\nnet = len\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = plugins.code_of("mine:net")
    installed.write_text("size = 22\n")
    assert plugins.code_of("mine:net") == before
    own.write_text("import put\nnet = len  # edited\n")
    assert plugins.code_of("mine:net") != before
