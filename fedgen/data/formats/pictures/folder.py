"""A folder of images for each class: ``DIR/CLASS/*.png``, or ``DIR/{train,test,val}/CLASS/*``."""

from pathlib import Path

import numpy as np

from fedgen.data.formats import limits
from fedgen.data.formats.pictures.decode import decode
from fedgen.data.raw import Raw, Samples
from fedgen.errors import InputError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}

SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation"),
}
"""Names of folders that are splits and no classes, the likeliest first: one of each is read."""


def is_folder(path: Path) -> bool:
    """Whether a folder has folders of images."""
    return any(_files(folder) for root in _roots(path).values() for folder in _folders(root))


def read(path: Path) -> Raw:
    """Read a folder of images for each class; classes are numbered by their sorted names.

    Raises:
        InputError: If an image is unreadable, or of another size or kind than the first, a split
            has a class that training images do not have, or all are larger than what is free.
    """
    with limits.reading(path, "folder of images"):
        roots = _roots(path)
        names = tuple(folder.name for folder in _folders(roots["train"]) if _files(folder))
        splits = {split: _split(path, root, names) for split, root in roots.items()}
        others = _others(path, roots, names)
    notes = (f"folders: not used: {limits.few(others)}",) if others else ()
    return Raw(splits["train"], splits.get("test"), splits.get("validation"), names, notes=notes)


def _split(path: Path, root: Path, names: tuple[str, ...]) -> Samples:
    found = {folder.name: _files(folder) for folder in _folders(root)}
    strange = [name for name, files in found.items() if files and name not in names]
    if strange:
        raise InputError(
            f"data file {root}: expected the classes of training images ({limits.few(names)}), "
            f"received {limits.few(strange)}"
        )
    files = [file for name in names for file in found.get(name, [])]
    if not files:
        raise InputError(f"data file {root}: expected folders of images, one for each class")
    counts = [len(found.get(name, [])) for name in names]
    images = decode(path, files, lambda place: str(files[place].relative_to(path)))
    return Samples(images, np.repeat(np.arange(len(names)), counts))


def _roots(path: Path) -> dict[str, Path]:
    """Return the folder of each split: the folder itself where it has none for training."""
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        for name in names:
            if (path / name).is_dir() and _folders(path / name):  # else a class is called so
                found.setdefault(split, path / name)
    return found if "train" in found else {"train": path}


def _others(path: Path, roots: dict[str, Path], names: tuple[str, ...]) -> list[str]:
    """Return the names of folders beside those that are read."""
    read = {*roots.values(), *(path / name for name in names if roots["train"] == path)}
    return [folder.name for folder in _folders(path) if folder not in read]


def _folders(root: Path) -> list[Path]:
    return sorted(
        folder for folder in root.iterdir() if folder.is_dir() and folder.name[0] not in "._"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()
    )
