"""Files of small data sets: archives and arrays."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgen.data.formats.arrays import cifar

RECORDS = 2  # in every file of the miniature archive


Arrays = dict[str, NDArray[Any]]


def cifar_files() -> dict[str, bytes]:
    draw = np.random.default_rng(0)
    names = (*cifar.TRAIN, *cifar.TEST)
    files = {}
    for number, name in enumerate(names):
        records = draw.integers(0, 256, (RECORDS, cifar.RECORD)).astype(np.uint8)
        records[:, 0] = (number, 9 - number)
        files[name] = records.tobytes()
    return files


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def small(**changed: Any) -> Arrays:
    draw = np.random.default_rng(1)
    arrays: Arrays = {
        "x_train": draw.integers(0, 256, (4, 3, 2)).astype(np.uint8),
        "y_train": np.array([0, 1, 2, 1]),
        "x_test": draw.integers(0, 256, (2, 3, 2)).astype(np.uint8),
        "y_test": np.array([2, 0]),
    }
    return arrays | changed


def write_npz(path: Path, arrays: Arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path
