"""Strategies and models of a user's own, named as ``module:attribute``.

The module is imported as any other: installed, on ``PYTHONPATH``, or in the working directory.
It is imported when something is trained, never to read or to draw a run.
"""

import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from fedgen.errors import InputError

_OWN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)

FORM = "MODULE:NAME"
"""How such a name looks, for people."""


def is_own(name: str) -> bool:
    """Whether a name is one of a user's own, and not one of fedgen's."""
    return _OWN.fullmatch(name) is not None


def strategy(name: str) -> type[Any]:
    """Return the strategy class of a user's own.

    Raises:
        InputError: If it cannot be imported, or is no subclass of ``strategies.fedavg.FedAvg``.
    """
    from strategies.fedavg import FedAvg

    found = _load("strategy", name)
    if not (isinstance(found, type) and issubclass(found, FedAvg)):
        raise InputError(
            f"strategy {name!r}: expected a subclass of strategies.fedavg.FedAvg, "
            f"received {type(found).__name__} {getattr(found, '__name__', found)!r}"
        )
    return found


def model(name: str) -> Callable[[tuple[int, int, int], int], list[Any]]:
    """Return the function of a user's own that makes a model's layers.

    It takes an image's shape (height, width, channels) and the number of classes, and returns
    Keras layers, the last one with a logit per class.

    Raises:
        InputError: If it cannot be imported, or cannot be called.
    """
    found = _load("model", name)
    if not callable(found):
        raise InputError(
            f"model {name!r}: expected a function (shape, classes) that returns Keras layers, "
            f"received {type(found).__name__}"
        )
    made: Callable[[tuple[int, int, int], int], list[Any]] = found
    return made


def _load(what: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # the command `fedgen` does not look there
        sys.path.insert(0, here)
    try:
        return getattr(import_module(module), attribute)
    except AttributeError as error:
        raise InputError(f"{what} {name!r}: {error}") from error
    except Exception as error:  # whatever a user's own module raises while it is imported
        raise InputError(
            f"{what} {name!r}: module {module!r} cannot be imported from {here} or the Python path "
            f"({type(error).__name__}: {error})"
        ) from error
