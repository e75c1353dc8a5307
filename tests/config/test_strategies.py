"""The strategies' sections and their constructors say the same."""

import inspect
from typing import Any

import pytest

from fedgen.config.tree import Config
from strategies import REGISTRY, load


def defaults(kind: type) -> dict[str, Any]:
    """What a strategy's constructors take beside one another, the nearest class first."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if "__init__" in vars(base) and base.__module__.startswith("strategies"):
            for name, parameter in inspect.signature(base.__init__).parameters.items():
                if parameter.default is not parameter.empty:
                    found.setdefault(name, parameter.default)
    return found


@pytest.mark.parametrize("name", REGISTRY)
def test_every_setting_is_a_parameter_with_the_same_default(name: str) -> None:
    section = Config().section_of(name)
    assert section is not None
    taken = defaults(load(name))
    for key, value in section.model_dump().items():
        assert key in taken, key
        assert taken[key] == value, key


@pytest.mark.parametrize("name", REGISTRY)
def test_every_parameter_of_its_own_is_a_setting(name: str) -> None:
    kind = load(name)
    section = Config().section_of(name)
    own = [key for key in inspect.signature(kind.__init__).parameters if key != "self"]
    missing = {*own} - {"common"} - set(section.model_dump() if section else ())
    assert name == "fedavg" or not missing
