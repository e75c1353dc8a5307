"""A strategy owns its settings: what its section holds, and what it is built of, is one class."""

import ast
import dataclasses
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from fedgen.config.strategies import keys, read, settings_class
from fedgen.config.tree import build, dump
from fedgen.errors import InputError
from strategies import REGISTRY, load

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


def test_a_strategy_that_is_not_compared_has_no_section_unless_it_is_fedgen_s(own: str) -> None:
    with pytest.raises(InputError, match=f"unknown section '{own}:Mine'"):
        build({f"{own}:Mine": {"share": 1}})
    assert build({"fedprox": {"mu": 1.0}}).section_of("fedprox")["mu"] == 1


def test_a_strategy_without_settings_may_set_those_of_its_base(own: str) -> None:
    name = f"{own}:Silent"
    config = build({"run": {"strategies": [name]}})
    assert config.section_of(name) == {} and name not in dump(config)
