"""Errors that a user can cause, each a single line that says how to go on."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class FedgenError(Exception):
    """The base: ``exit_code`` is what the command line ends with."""

    exit_code = 1

    @property
    def line(self) -> str:
        """The text on one line, without passwords, whatever was quoted in it."""
        return without_passwords(" ".join(str(self).split()))


class InputError(FedgenError):
    """Something given to fedgen is wrong: a setting, a file, a data set."""

    exit_code = 2


class Inconsistent(InputError):
    """Settings, each right by itself, that do not go together."""


class Unavailable(InputError):
    """A published data set is neither on this machine nor to be downloaded."""


class RunError(FedgenError):
    """A run that started well cannot go on."""

    exit_code = 3


class Interrupted(FedgenError):
    """A run was ended by Ctrl-C or SIGTERM."""

    exit_code = 130


class ArmError(RunError):
    """Some arms of a run cannot go on; the others can, and do.

    Args:
        reasons: Why not, by the arm's name; at least one.
        summary: What the run has come to all the same.
    """

    def __init__(self, reasons: Mapping[str, str], summary: Mapping[str, Any]) -> None:
        self.reasons, self.summary = dict(reasons), dict(summary)
        (first, why), *more = self.reasons.items()
        others = ", ".join(name for name, _ in more)
        super().__init__(f"{first}: {why}" + (f"; neither could {others} go on" if more else ""))


def one_line(error: BaseException) -> str:
    """Return an error of a library's as people read it: its kind and text, without colours."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:300]
    return f"{type(error).__name__}: {text}"


def unknown(what: str, received: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that does not exist, with the nearest one that does."""
    names = list(known)
    near = get_close_matches(received, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
    return InputError(f"unknown {what} {received!r}: {hint}")


def without_passwords(text: str) -> str:
    """Return a text without the passwords of URLs in it: what is printed ends up in logs."""
    return re.sub(r"(://[^\s:/@]*:)[^\s/]+@", r"\1***@", text)
