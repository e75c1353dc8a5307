"""A strategy owns its settings: what its section holds, and what it is built of, is one class."""

import ast
import dataclasses
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from fedgen.comparison import request, trainers
from fedgen.config import plugins
from fedgen.config.strategies import keys, read, settings_class
from fedgen.config.tree import Arm, build, dump
from fedgen.errors import InputError
from fedgen.federation.resources import Resources
from strategies import REGISTRY, load
from strategies.core.hyperparameters import Genome

OWN = """
from dataclasses import dataclass
from typing import Literal

from strategies.core.settings import FixedRate, Share
from strategies.fedavg import FedAvg


class Mine(FedAvg):
    @dataclass(frozen=True)
    class Settings(FixedRate):
        share: Share = 0.5
        way: Literal["up", "down"] = "up"

        def __post_init__(self):
            if self.way == "down" and self.share == 1:
                raise ValueError("share: expected less than 1 on the way down")


class Silent(FedAvg):
    def __init__(self, **common):
        super().__init__(learning_rate=0.5, **common)


class Uniform(FedAvg):
    @dataclass(frozen=True)
    class Settings:
        weighting: Literal["samples", "uniform"] = "uniform"
        learning_rate: float = 0.2


class Common(FedAvg):
    @dataclass(frozen=True)
    class Settings:
        local_epochs: int = 7


class Bare(FedAvg):
    @dataclass(frozen=True)
    class Settings:
        needed: int
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "own_strategies.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("some", "some.own_strategies"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "some.own_strategies"


@pytest.mark.parametrize("name", REGISTRY)
def test_a_section_is_the_dataclass_of_its_strategy(name: str) -> None:
    kind = settings_class(name)
    assert kind is load(name).Settings and kind.__dataclass_params__.frozen
    section = dump(build({}))[name]
    assert [*section] == keys(name) and read(name, section) == kind()


@pytest.mark.parametrize("name", REGISTRY)
def test_a_strategy_is_built_of_its_settings_alone(name: str) -> None:
    """And of what all share: a parameter of its own would be a setting that nobody can set."""
    kind: Any = load(name)
    assert kind().settings == kind.Settings()
    for base in kind.__mro__[: kind.__mro__.index(load("fedavg"))]:
        if "__init__" in vars(base):
            parameters = [*inspect.signature(base.__init__).parameters.values()][1:]
            assert [p.kind for p in parameters] == [inspect.Parameter.VAR_KEYWORD]
    with pytest.raises(TypeError, match="zzz"):
        kind(zzz=1)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_setting_says_what_it_is(name: str) -> None:
    said: set[str] = set()
    for base in settings_class(name).__mro__[:-1]:
        (found,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(found, ast.ClassDef)
        for field, text in zip(found.body, found.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                assert isinstance(field.target, ast.Name) and isinstance(text.value, ast.Constant)
                said.add(field.target.id)
    assert said >= {*keys(name)}


def test_one_s_own_strategy_has_a_section_as_fedgen_s_have(own: str) -> None:
    name = f"{own}:Mine"
    tree = {"run": {"strategies": [name]}, name: {"share": 1, "learning_rate": 0.1}}
    config = build(tree)
    assert config.section_of(name) == {"share": 1, "learning_rate": 0.1}
    settings = read(name, config.section_of(name))
    assert dataclasses.astuple(settings) == (0.1, 32, 1.0, "up")
    assert dump(config)[name] == config.section_of(name)


@pytest.mark.parametrize(
    ("strategy", "section", "reason"),
    [
        ("Mine", {"share": 2}, "Mine.share: input should be less than or equal to 1, received 2"),
        ("Mine", {"shared": 1}, "Mine: unknown setting 'shared': did you mean 'share'"),
        ("Mine", {"way": "left"}, "Mine.way: input should be 'up' or 'down', received 'left'"),
        ("Mine", {"share": float("inf")}, "Mine.share: input should be a finite number"),
        ("Mine", {"share": 1, "way": "down"}, "Mine.share: expected less than 1 on the way down"),
        (
            "Bare",
            {"needed": 1},
            "Bare.Settings: expected a dataclass whose fields all have default",
        ),
        ("Common", {}, "Common.Settings: local_epochs: is a setting of every strategy"),
        ("Lost", {"share": 1}, "Lost': .*no attribute 'Lost'"),
    ],
)
def test_its_settings_are_checked_likewise(
    own: str, strategy: str, section: dict[str, Any], reason: str
) -> None:
    name = f"{own}:{strategy}"
    config = build({"run": {"strategies": [name]}, name: section})  # which imports nothing of it
    with pytest.raises(InputError, match=reason):
        read(name, config.section_of(name))


def test_a_section_may_be_left_over_and_a_setting_may_not(own: str, tmp_path: Path) -> None:
    file = tmp_path / "kept.toml"
    file.write_text(f'["{own}:Mine"]\nshare = 1\n')
    assert request.read(file, []).config.section_of(f"{own}:Mine") == {"share": 1}
    with pytest.raises(InputError, match=f"expected {own}:Mine among the strategies"):
        request.read(None, [(f"{own}:Mine", "share", 1)])
    for name in (f"{own}:Mine", f"pbt/{own}:Mine"):
        asked = [("run", "strategies", [name]), (f"{own}:Mine", "share", 1)]
        assert request.read(None, asked).config.section_of(f"{own}:Mine") == {"share": 1}


@pytest.mark.parametrize(
    ("section", "reason"),
    [({}, ""), ({"learning_rate": 0.1}, "multiple values for .*rate")],
)
def test_a_strategy_may_pin_what_it_inherits(
    own: str, section: dict[str, Any], reason: str
) -> None:
    name = f"{own}:Silent"
    tree = {"data": {"dataset": "digits"}, "run": {"strategies": [name]}, name: section}
    held = Resources(build(tree))
    if reason:
        with pytest.raises(InputError, match=f"cannot be built .*{reason}"):
            trainers.check_strategy(Arm(held.config, name, 0), held)
    else:
        built = trainers.build_strategy(Arm(held.config, name, 0), held)
        assert (built.settings.learning_rate, built.genome.learning_rate) == (0.5, 0.5)


def test_its_own_defaults_count(own: str) -> None:
    kind = plugins.strategy(f"{own}:Uniform")
    assert (kind().weighting, kind().genome) == ("uniform", Genome(0.2, 32))
    assert kind(weighting="samples").settings.weighting == "samples"
