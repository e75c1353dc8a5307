"""The files of published data sets: found, downloaded and checked."""

import os
from dataclasses import dataclass
from pathlib import Path

import pooch

from fedgen.errors import InputError, Unavailable


@dataclass(frozen=True)
class Archive:
    """A file that a data set is published as.

    Attributes:
        url: Where it is downloaded from.
        sha256: Its hash, in hexadecimal.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[-1]


CIFAR10 = Archive(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
MNIST = Archive(
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)

PUBLISHED = {"cifar10": CIFAR10, "mnist": MNIST}


def cache() -> Path:
    """Return the folder that archives are downloaded to."""
    return Path(pooch.os_cache("fedgen"))


def data_dir(named: str) -> Path | None:
    """Return the folder that is looked in first, if there is one.

    Args:
        named: What the config says; "" for the environment's ``FEDGEN_DATA_DIR``.

    Raises:
        InputError: If it does not exist.
    """
    named = named or os.environ.get("FEDGEN_DATA_DIR", "")
    if not named:
        return None
    if not Path(named).is_dir():
        raise InputError(
            f"data directory {named}: not an existing directory (--data-dir or FEDGEN_DATA_DIR)"
        )
    return Path(named)


def find(dataset: str, folder: Path | None) -> Path:
    """Return the file of a published data set, downloaded if need be.

    Args:
        dataset: Its name.
        folder: Where to look first, for ``DATASET.npz`` and then for the archive.

    Raises:
        Unavailable: If it cannot be had.
    """
    archive = PUBLISHED[dataset]
    for name in (f"{dataset}.npz", archive.name):
        if folder is not None and (folder / name).exists():
            return folder / name
    path = cache() / archive.name
    return path if path.exists() else fetch(archive, cache())


def has_hash(path: Path, archive: Archive) -> bool:
    """Whether a file is an archive as it was published."""
    return bool(pooch.file_hash(str(path), alg="sha256") == archive.sha256)


def check_hash(path: Path, archive: Archive) -> None:
    """Check a local archive's hash.

    Raises:
        InputError: If it differs.
    """
    received = pooch.file_hash(str(path), alg="sha256")
    if received != archive.sha256:
        raise InputError(
            f"archive {path}: truncated or altered, expected sha256 {archive.sha256}, "
            f"received {received}. Delete it, or fetch it again from {archive.url}"
        )


def fetch(archive: Archive, cache: Path) -> Path:
    """Download an archive into a cache, or find it there, and check its hash.

    Raises:
        Unavailable: If it cannot be downloaded, stored, or has the wrong hash.
    """
    pooch.get_logger().setLevel("WARNING")
    try:
        path = pooch.retrieve(
            archive.url,
            known_hash=f"sha256:{archive.sha256}",
            fname=archive.name,
            path=cache,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
        )
    except ValueError as error:
        raise Unavailable(f"{archive.url}: wrong hash, expected sha256 {archive.sha256}") from error
    except (OSError, RuntimeError) as error:
        cause = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise Unavailable(
            f"{archive.name} is not in --data-dir and could not be downloaded from "
            f"{archive.url} ({type(error).__name__}: {cause})"
        ) from error
    return Path(path)
