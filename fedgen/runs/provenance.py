"""What decides a run's results, and where two such lists differ."""

from collections.abc import Mapping
from typing import Any

from fedgen.runs.run import Run

FREE = {
    "run.rounds",
    "run.workers",
    "run.target",
    "data.data_dir",
    "data.dataset",
    "partition.file",
    "model.weights",
    "provenance.python",
    "provenance.notes",
}
"""What may change between two parts of a run: it does not change results, adds to them, or (where
data, a given partition and weights lie) is held against the fingerprint of what is there."""


def made_with(run: Run) -> dict[str, Any]:
    """Return the settings and versions that decide a run's results, by dotted name."""
    return {
        f"{section}.{key}": value
        for section, part in run.tree().items()
        for key, value in part.items()
        if f"{section}.{key}" not in FREE
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what differs between two flat trees, a line each."""
    names = sorted({*then, *now})
    return [
        f"{name} was {then.get(name, 'not there')!r} and is {now.get(name, 'not there')!r}"
        for name in names
        if then.get(name) != now.get(name)
    ]
