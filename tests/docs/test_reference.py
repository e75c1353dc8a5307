"""The page of all settings is that of the code."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from fedgen.config import base, tree

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = runpy.run_path(str(DOCS / "reference.py"))
PAGE = (DOCS / "settings.md").read_text()


def test_the_page_is_what_the_code_makes() -> None:
    assert REFERENCE["page"]() == PAGE, "run: python docs/reference.py"


def test_every_setting_has_a_row_that_says_something() -> None:
    found = {}
    for name, part in re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE):
        rows = re.findall(r"^\| `(\w+)(?: = .+)?` \| .{6,}<br>\*.+\* \|$", part, re.MULTILINE)
        found[name] = rows
    assert found == tree.sections()


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (base.Scale, ["auto", 1e-30, 1e30], ["none", 0, 9e-31, 2e30]),
        (base.Decay, ["auto", 0, 1e300], ["none", -1e-9]),
        (base.Sizes, [[], [1, 2**31 - 1]], [[0], [2**31], [1.5], 3]),
        (base.Deviations, [[], [1e-9, 2.0]], [[0.0], [-1.0]]),
        (base.Names, [[], ["a"]], [[1], 3]),
    ],
)
def test_what_the_page_says_of_own_kinds_is_so(
    kind: Any, taken: list[Any], refused: list[Any]
) -> None:
    assert kind in REFERENCE["KINDS"]
    adapter = TypeAdapter[Any](kind)
    for value in taken:
        adapter.validate_python(value)
    for value in refused:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_ranges_are_told_in_words() -> None:
    what = REFERENCE["what"]
    hints = tree.Config.model_fields["partition"].annotation.__annotations__  # type: ignore[union-attr]
    assert what(hints["clients"]) == "a whole number of at least 1"
    assert what(hints["alpha"]) == "a number over 0, at most 1e6"
