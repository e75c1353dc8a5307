"""A study's directory: what it is about, and every fit that was ever finished in it.

``results.csv`` and ``epochs.csv`` grow by a row as fits end, in whatever order; at a study's end
they are put in the order of its cases. A fit's epochs are written before its row, so a fit whose
row is there is whole. A torn last line is cut off, and its fit runs again.
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedgen.config.toml import Tree, read_toml, to_toml
from fedgen.data.dataset import Dataset
from fedgen.data.inputs import AUTO
from fedgen.engine import engines
from fedgen.errors import InputError
from fedgen.files import csv as records_csv
from fedgen.files import disk, locks
from fedgen.runs import provenance
from fedgen.runs.directory import CONFIG
from fedgen.study.cases import Case, Study, columns
from fedgen.study.fits.outcome import Epoch, Fit, Outcome

STUDY, RESULTS, EPOCHS = "study.toml", "results.csv", "epochs.csv"
PACKAGES = ("fedgen", "numpy", "scipy", "scikit-learn")
"""Packages whose versions decide what scikit-learn's fits come to."""

FREE = {
    *("study.seeds", "study.metrics", "data.data_dir", "data.dataset"),
    *("provenance.python", "provenance.notes"),
}
"""What may change while the fits that are there remain of use; a data set is told by its
fingerprint, and cases by their hashes."""

UNSET = [
    *(("data", "scale", AUTO), ("data", "layout", AUTO)),
    *(("study", "engine", name) for name in ("auto", "tensorflow")),
    ("study", "precision", "float32"),
]
"""Settings that came later, as they are in studies that do not have them."""

columns_of = partial(records_csv.columns, optional=True)

LEAK = "leaks: test images are among the training images"


@dataclass
class Ledger:
    """The fits in a study's directory.

    Attributes:
        path: The directory.
        study: The study that goes on in it.
        fits: Every fit that is there, by hash of the case and seed.
        lines: Their lines in ``results.csv``, as they stand there.
        epochs: Their epochs, in order.
    """

    path: Path
    study: Study
    fits: dict[tuple[str, int], Fit] = field(default_factory=dict)
    lines: dict[tuple[str, int], str] = field(default_factory=dict)
    epochs: dict[tuple[str, int], list[Epoch]] = field(default_factory=dict)

    def of(self, case: Case) -> list[Fit]:
        """Return the fits of a case, by seed."""
        found = [self.fits.get((case.key, seed)) for seed in self.study.seeds]
        return [fit for fit in found if fit is not None]

    def missing(self, cases: Sequence[Case]) -> list[tuple[Case, int]]:
        """Return what has not been fitted yet."""
        pairs = [(case, seed) for case in cases for seed in self.study.seeds]
        return [(case, seed) for case, seed in pairs if (case.key, seed) not in self.fits]

    def add(self, case: Case, outcome: Outcome) -> None:
        """Keep a fit.

        Raises:
            RunError: If it cannot be written.
        """
        fit = outcome.fit
        place = fit.case, fit.seed
        if outcome.epochs:
            lines = records_csv.write_lines(map(astuple, outcome.epochs))
            disk.append(self.path / EPOCHS, lines.encode())
        line = records_csv.write_lines([_row(self.study, case, fit)])
        disk.append(self.path / RESULTS, line.encode())
        self.fits[place], self.lines[place] = fit, line
        self.epochs[place] = list(outcome.epochs)

    def finish(self, cases: Sequence[Case]) -> None:
        """Put the files in the order of the cases; fits of other cases stay, after them.

        Raises:
            RunError: If they cannot be written.
        """
        ranked = {case.key: number for number, case in enumerate(cases)}
        places = sorted(
            self.fits, key=lambda place: (ranked.get(place[0], len(ranked)), place[0], place[1])
        )
        header = records_csv.write_lines([_header(self.study)])
        results = header + "".join(self.lines[place] for place in places)
        disk.replace(self.path / RESULTS, results.encode())
        epochs = [epoch for place in places for epoch in self.epochs.get(place, [])]
        _write_epochs(self.path, epochs)


def default_path(study: Study, dataset: Dataset) -> Path:
    """Return the directory of a study that named none: always the same, so that it is found."""
    return Path("studies") / f"{study.study.name}-{dataset.name}"


@contextmanager
def opened(path: Path, study: Study, dataset: Dataset, cases: Sequence[Case]) -> Iterator[Ledger]:
    """Make or find a study's directory, and own it inside a ``with`` block.

    Raises:
        InputError: If it holds another study, or is in use.
        RunError: If it cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: expected a directory, received a file")
    # What is left of a study that was killed before it wrote anything does not count.
    there = {entry.name for entry in path.iterdir()} if path.exists() else set()
    there -= {locks.LOCK, f".{STUDY}.tmp"}
    if there and not there & {STUDY, RESULTS, EPOCHS}:
        what = "that of a run" if CONFIG in there else "another one"
        raise InputError(
            f"{path}: expected a new or empty directory, or that of a study, received {what}"
        )
    disk.make_folder(path)
    with locks.hold(path):
        tree = _tree(study, dataset)
        begun = (path / STUDY).exists() or (path / RESULTS).exists()
        ledger = read(path, study, dataset) if begun else Ledger(path, study)
        disk.replace(path / STUDY, to_toml(tree).encode())
        # Written anew, as a torn line or epochs without a fit may be at their ends.
        ledger.finish(cases)
        yield ledger


def read(path: Path, study: Study, dataset: Dataset) -> Ledger:
    """Read a study's directory without changing anything in it.

    Raises:
        InputError: If it is not there, is damaged, or holds another study.
    """
    if not (path / STUDY).exists():
        raise InputError(
            f"{path}: expected {STUDY} beside {RESULTS}, which may be of another study; "
            "name another directory with --out"
        )
    then, now = _identity(read_toml(path / STUDY)), _identity(_tree(study, dataset))
    if then != now:
        raise InputError(
            f"{path}: its results are of another study: "
            f"{'; '.join(provenance.differences(then, now))}. Name another directory with --out, "
            "or undo the difference"
        )
    ledger = Ledger(path, study)
    header = _header(study)
    for number, fields in _table(path / RESULTS, header):
        own = fields[-len(columns_of(Fit)) :]
        fit: Fit = records_csv.parse(path / RESULTS, number, own, Fit)
        if len(fields) != len(header) or fields[0] != study.study.name:
            raise InputError(
                f"{path / RESULTS} line {number}: expected {len(header)} fields of study "
                f"{study.study.name!r}, received {len(fields)} of {fields[0]!r}"
            )
        ledger.fits[fit.case, fit.seed] = fit
        ledger.lines[fit.case, fit.seed] = records_csv.write_lines([fields])
    for number, fields in _table(path / EPOCHS, columns_of(Epoch)):
        epoch: Epoch = records_csv.parse(path / EPOCHS, number, fields, Epoch)
        if (epoch.case, epoch.seed) in ledger.fits:
            ledger.epochs.setdefault((epoch.case, epoch.seed), []).append(epoch)
    return ledger


def _table(path: Path, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the whole rows of a file with their line numbers; a file that is not there has none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    table = records_csv.read_lines(content[: content.rfind(b"\n") + 1], path)
    if not table or table[0] != list(header):
        raise InputError(
            f"{path}: expected the columns {','.join(header)}, received "
            f"{','.join(table[0]) if table else 'none'}: it is of another study, "
            "name another directory with --out"
        )
    yield from enumerate(table[1:], 2)


def _header(study: Study) -> list[str]:
    return ["study", "sampling", *map(_column, columns(study)), *columns_of(Fit)]


def _column(setting: str) -> str:
    # scikit-learn's own share, not what the study holds out; and names of scores are taken.
    return f"set_{setting}" if setting in columns_of(Fit) else setting


def _row(study: Study, case: Case, fit: Fit) -> list[Any]:
    sampling = study.study.sampling
    settings = (_text(getattr(case.settings, name)) for name in columns(study))
    return [
        study.study.name,
        f"{sampling} ({LEAK})" if study.leaks else sampling,
        *settings,
        *astuple(fit),
    ]


def _text(value: Any) -> Any:
    return "-".join(f"{part:g}" for part in value) if isinstance(value, tuple) else value


def _write_epochs(path: Path, epochs: Sequence[Epoch]) -> None:
    content = records_csv.write_lines([columns_of(Epoch), *map(astuple, epochs)])
    disk.replace(path / EPOCHS, content.encode())


def _tree(study: Study, dataset: Dataset) -> Tree:
    tree: Tree = study.model_dump(mode="json", exclude_none=True)
    return tree | {
        "provenance": {
            "dataset": dataset.name,
            "fingerprint": dataset.fingerprint,
            "python": platform.python_version(),
            **_made_with(study),
            **dataset.told,
        }
    }


def _made_with(study: Study) -> Tree:
    """Return what decides the results beside settings and data."""
    if study.study.estimator != "keras":
        return {name: version(name) for name in PACKAGES}
    own = [name for name in engines.packages(study.training) if name != "flwr"]
    versions = {name: version(name) for name in ("fedgen", *own)}
    return {"engine": engines.title(study.training), **versions}


def _identity(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two parts of a study share, by dotted name."""
    return {
        f"{section}.{key}": value
        for section in ("study", "data", "provenance")
        for key, value in (tree.get(section) or {}).items()
        if f"{section}.{key}" not in FREE and (section, key, value) not in UNSET
    }
