"""What fedgen's speed and memory are measured with; every module runs by itself.

``python -m benchmarks.NAME [--json]``. None of it runs in the test suite: a
shared machine's timings are no pass or fail.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fedgen.errors import InputError


def main(measure: Callable[[], Mapping[str, object]], about: str | None) -> None:
    """Measure and print: one JSON object with ``--json``, else a line per figure."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    with refusing():
        show(measure(), as_json)


@contextmanager
def refusing() -> Iterator[None]:
    """End with one line and exit code 2 where something is missing that was asked for."""
    try:
        yield
    except InputError as error:
        print(error.line, file=sys.stderr)
        sys.exit(2)


def told(name: str, figure: Any) -> Any:
    """Return a figure, said on stderr at once, in case there is no time for all of them."""
    print(json.dumps({name: figure}), file=sys.stderr, flush=True)
    return figure


def show(figures: Mapping[str, object], as_json: bool) -> None:
    """Print figures by their names, a line each, or as one JSON object."""
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name}: {value}")
