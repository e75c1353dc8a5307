"""What lines look like: a strategy has one colour and dash on every page."""

import re
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from fedgen.config.sections import CENTRALISED
from strategies import REGISTRY

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's palette: told apart with colour blindness, too."""

DASHES = ("solid", "dash", "dot", "dashdot")


class Style(NamedTuple):
    """A line's colour and dash."""

    colour: str
    dash: str


EVERY = tuple(Style(colour, dash) for dash in DASHES for colour in COLOURS)
"""All styles, those told apart most easily first."""


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """Return the styles of some arms, by what a page calls them.

    Those of registered strategies are theirs everywhere; others, as variants and one's own, have
    one by their name. Where two would have the same, the later one gets the next that is free.

    Args:
        labels: Names of strategies; a run's name may stand before one, and a remark behind.
    """
    own = {name: place for place, name in enumerate((*REGISTRY, CENTRALISED))}
    found: dict[str, Style] = {}
    for label in labels:
        name = re.sub(r" \(.*", "", label.rpartition(": ")[2])
        start = own.get(name, zlib.crc32(name.encode()))
        tried = (EVERY[(start + further) % len(EVERY)] for further in range(len(EVERY)))
        fresh = (style for style in tried if style not in found.values())
        found[label] = next(fresh, EVERY[start % len(EVERY)])
    return found


def translucent(colour: str, opacity: float) -> str:
    """Return a colour of the palette that lets others through."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
