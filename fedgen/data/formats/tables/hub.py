"""Data sets of a hub, ``hf:NAME`` or ``hf:NAME/CONFIG``, by way of the library ``datasets``."""

from pathlib import Path
from typing import Any

from fedgen.data.formats import limits
from fedgen.data.formats.tables import arrow
from fedgen.data.raw import Raw
from fedgen.errors import InputError

PREFIX = "hf:"

_MAJOR = 4
"""The first version of the library that runs no code of a data set."""

_SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation"}


def read(path: Path, *, labels: str = "", target: str = "", client: str = "") -> Raw:
    """Read a data set that ``datasets`` finds: on the hub, in its cache, or in a local folder.

    Args:
        path: ``hf:NAME`` or ``hf:OWNER/NAME``, with ``/CONFIG`` behind an owner's name where there
            are several; ``hf:/FOLDER`` or a folder that ``save_to_disk`` wrote.
        labels: "fine" or "coarse", where there are columns ``fine_label`` and ``coarse_label``.
        target: The column that is learned; else the one with a usual name, or with names.
        client: The column that says whose a sample is.

    Raises:
        InputError: If it cannot be had, the library is too old, or a column is missing or not told.
    """
    name = str(path).removeprefix(PREFIX)
    parts = name.removeprefix("/").split("/")
    if not all(part.strip() for part in parts):
        raise InputError(
            f"data.dataset: expected hf:NAME, hf:OWNER/NAME or hf:/FOLDER, received {str(path)!a}"
        )
    arrow.pyarrow()
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"{path}: needs the library datasets; pip install datasets") from error
    if int(datasets.__version__.split(".")[0]) < _MAJOR:
        raise InputError(
            f"{path}: needs datasets {_MAJOR} or later, as older ones run code of a data set; "
            f"received {datasets.__version__}; pip install --upgrade datasets"
        )
    from pyarrow import ArrowException

    with limits.reading(
        path, "data set of a hub", ArrowException, datasets.exceptions.DatasetsError
    ):
        found = _load(datasets, name)
        splits = {_SPLITS[split]: part for split, part in found.items() if split in _SPLITS}
        if "train" not in splits:
            raise InputError(
                f"data file {path}: expected a split train, received {limits.few(found)}"
            )
        limits.check(path, sum(int(part.data.nbytes) for part in splits.values()))
        for part in splits.values():
            part.data.table.validate(full=True)  # damage may make Arrow read what is not its own
        tables = {split: part.with_format("arrow")[:] for split, part in splits.items()}
        features = splits["train"].features.to_dict()
        roles = arrow.find_roles(path, tables["train"].schema, features, labels, target, client)
        return arrow.make_raw(path, tables, roles, follow=True)


def is_folder(path: Path) -> bool:
    """Whether a folder is one that ``save_to_disk`` wrote."""
    return (path / "dataset_dict.json").exists() or (
        (path / "state.json").exists() and (path / "dataset_info.json").exists()
    )


def _load(datasets: Any, name: str) -> dict[str, Any]:
    """Return the splits of a data set by their names."""
    folder = Path(name)
    if folder.is_absolute() or is_folder(folder):
        loaded = datasets.load_from_disk(name) if is_folder(folder) else datasets.load_dataset(name)
    else:
        parts = name.split("/", 2)
        loaded = datasets.load_dataset("/".join(parts[:2]), *parts[2:])
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
