"""What lines look like: a registered strategy has one colour and dash on every page."""

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

    Those of registered strategies are theirs everywhere, but where one stands there twice. Others,
    as variants, strategies at several settings and one's own, have one by their name, of a colour
    that nobody has, as long as there are some.

    Args:
        labels: Names of strategies; a run's name may stand before one, and a remark behind.
    """
    own = {name: place for place, name in enumerate((*REGISTRY, CENTRALISED))}
    named = {label: re.sub(r" \(.*", "", label.rpartition(": ")[2]) for label in labels}
    found: dict[str, Style] = {}
    for label in sorted(named, key=lambda label: named[label] not in own):  # stable
        start = own.get(named[label], zlib.crc32(named[label].encode()))
        tried = [EVERY[(start + further) % len(EVERY)] for further in range(len(EVERY))]
        free = [style for style in tried if style not in found.values()] or tried
        hues = {style.colour for style in found.values()}
        fresh = [style for style in free if style.colour not in hues]
        found[label] = (free if named[label] in own else fresh or free)[0]
    return {label: found[label] for label in named}


def translucent(colour: str, opacity: float) -> str:
    """Return a colour of the palette that lets others through."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
