"""The page of all settings, made from the code: `python docs/reference.py` writes it anew."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo

from fedgen.command.schema import meanings
from fedgen.config import base, tree
from fedgen.config import strategies as own
from fedgen.config.sections import CENTRALISED
from fedgen.config.sections.genes import Range
from strategies import REGISTRY

PAGE = Path(__file__).with_name("settings.md")

HEAD = """# All settings

Every section and setting, with its default, what it may be, and what it says. This page is made
from the code (`python docs/reference.py`), and a test holds it to it.
[Settings and commands](commands.md) says how settings are given: as flags, in a file, by
`--set SECTION.KEY=VALUE`, or in a strategy's name. Lists are written as in TOML:
`--set 'genetic-cfl.rates=[1e-4,1e-2]'`. Whole numbers are below 2^31, those that may be 0 below
2^63.
"""

KINDS = {
    base.Scale: '`"auto"`, or a number from 1e-30 to 1e30',
    base.Decay: '`"auto"`, or a number of at least 0',
    base.Sizes: "a list of whole numbers of at least 1",
    base.Deviations: "a list of numbers over 0",
    base.Names: "a list of texts",
    Range | None: 'a table `{low = A, high = B, scale = "auto"}`, or nothing',
}
"""What validators of fedgen's own take; a test asks them."""
WORDS = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}
SIGNS = {
    Ge: ("of at least", "ge"),
    Gt: ("over", "gt"),
    Le: ("at most", "le"),
    Lt: ("below", "lt"),
}
FITS = (2**31, 2**63)
"""Ends that the head of the page tells of once, for all whole numbers."""


def page() -> str:
    """Return the page."""
    config = tree.Config()
    ours = [
        (name, type(section).__doc__, type(section), vars(section))
        for name, section in config
        if isinstance(section, base.Section)
    ]
    theirs = [(name, _about(name), own.settings_class(name), None) for name in REGISTRY]
    pooled = (CENTRALISED, "Training on pooled data.", own.settings_class(CENTRALISED), None)
    parts = [_section(*section) for section in (*ours, *theirs, pooled)]
    return "\n".join([HEAD, *parts])


def _about(name: str) -> str:
    return own.load(name).__doc__ or ""


def _section(name: str, about: str, kind: Any, defaults: dict[str, Any] | None) -> str:
    if defaults is None:
        settings = kind()
        defaults = {f.name: getattr(settings, f.name) for f in fields(settings) if f.init}
    hints, said = get_type_hints(kind, include_extras=True), meanings(kind)
    rows = [
        f"| {_set(key, value)} | {_cell(said[key])}<br>*{_cell(what(hints[key]))}* |"
        for key, value in defaults.items()
    ]
    head = ["| setting and default | what it says, *and what it may be* |", "|---|---|"]
    return "\n".join([f"## {name}", "", _cell(about.split("\n\n")[0]), "", *head, *rows, ""])


def _cell(text: str) -> str:
    """Return a docstring as it stands in a cell of a table: one line of Markdown."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").replace("*", "\\*").split())


def _set(key: str, value: object) -> str:
    if value is None:
        return f"`{key}`"
    return f"`{key} = {re.sub(r'e-0', 'e-', json.dumps(value))}`"


def what(kind: Any) -> str:
    """Return what values a kind takes, in words."""
    if kind in KINDS:
        return KINDS[kind]
    if kind in WORDS:
        return WORDS[kind]
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in arguments)
    if get_origin(kind) is tuple:
        each = what(arguments[0])
        return f"a list of {_many(each)}" if Ellipsis in arguments else f"two {_many(each)}"
    assert get_origin(kind) is Annotated, kind
    inside, *given = arguments
    metadata = [m for g in given for m in (g.metadata if isinstance(g, FieldInfo) else [g])]
    if any(isinstance(bound, MinLen) for bound in metadata):
        return what(inside).replace("a list of", "a list, not empty, of", 1)
    ends = [_end(bound) for bound in metadata if getattr(bound, "lt", None) not in FITS]
    return " ".join([what(inside), ", ".join(ends)]).strip()


def _many(each: str) -> str:
    words = {"a number": "numbers", "a whole number": "whole numbers", "text": "texts"}
    return next(
        each.replace(one, several, 1) for one, several in words.items() if each.startswith(one)
    )


def _end(bound: Any) -> str:
    word, name = SIGNS[type(bound)]
    return f"{word} {getattr(bound, name):g}".replace("e+0", "e")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
