"""The file that initial weights are read from: where it is, and what is in it.

No framework is imported here: a node that is asked who it is answers without one.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from fedgen.config.sections.model import Model
from fedgen.errors import InputError
from fedgen.files import disk

SUFFIXES = (".keras", ".weights.h5")
BEST = tuple(f"-best{suffix}" for suffix in SUFFIXES)
"""How models of an arm's best rounds are called, which lie beside those of the last ones."""


def find(text: str) -> Path:
    """Return the file that a setting ``model.weights`` names; of a run directory, its one model.

    Raises:
        InputError: If there is none, or a run directory has several.
    """
    path = Path(text)
    if path.is_dir():
        return _only(text, path / "models")
    if not text.endswith(SUFFIXES) or not path.is_file():
        kind = "no file of that kind" if path.is_file() else "there is no such file or directory"
        raise InputError(
            f"model.weights = {text!r}: expected FILE.keras, FILE.weights.h5 or a run directory, "
            f"{kind}"
        )
    return path


def _only(text: str, folder: Path) -> Path:
    found = sorted(path for path in folder.glob("*") if path.name.endswith(SUFFIXES))
    found = [path for path in found if not path.name.endswith(BEST)] or found
    if not found:
        raise InputError(f"model.weights = {text!r}: expected a model in {folder}, there is none")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(
            f"model.weights = {text!r}: expected a run of one model, or the file of one; in "
            f"{folder} there are {names}"
        )
    return found[0]


def absolute(model: Model) -> Model:
    """Name the file itself, by its whole path: a run may be resumed from another directory.

    Raises:
        InputError: If there is none.
    """
    if not model.weights:
        return model
    return model.model_copy(update={"weights": str(find(model.weights).absolute())})


def digest(model: Model) -> str:
    """Return the SHA-256 of the file that a model's weights are read from; "" without one.

    Raises:
        InputError: If there is none.
    """
    if not model.weights:
        return ""
    path = find(model.weights)
    return _digest(path, disk.stamp(path))


@lru_cache(maxsize=8)
def _digest(path: Path, stamp: disk.Stamp) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"model.weights: {path} cannot be read ({error.strerror})") from error
