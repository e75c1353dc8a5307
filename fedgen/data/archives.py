"""The files of published data sets: found, downloaded and checked."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedgen.errors import InputError, Unavailable

with warnings.catch_warnings():
    # In a notebook without widgets the library's progress bar is one of text, and says so at once.
    warnings.filterwarnings("ignore", "IProgress not found")
    import pooch


@dataclass(frozen=True)
class Archive:
    """A file that a data set is published as, or a part of it.

    Attributes:
        url: Where it is downloaded from.
        sha256: Its hash, in hexadecimal.
        md5: Its hash of that kind, where whoever publishes it gives no SHA-256.
        name: The file's name; "" for the last part of the address.
    """

    url: str
    sha256: str = ""
    md5: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            name = self.url.split("?", 1)[0].rsplit("/", 1)[-1]
            object.__setattr__(self, "name", name)

    @property
    def hash(self) -> tuple[str, str]:
        """The kind of its hash, and the hash."""
        return ("sha256", self.sha256) if self.sha256 else ("md5", self.md5)


@dataclass(frozen=True)
class Published:
    """A data set that its authors publish.

    Attributes:
        files: Its files: one, or several that lie in a folder.
        licence: What its authors allow, in their words or as an SPDX identifier.
        folder: The folder of its files in the cache, "" for a single file.
        options: What its reader must be told.
    """

    files: tuple[Archive, ...]
    licence: str
    folder: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The file or folder that is read, by its name in the cache."""
        return self.folder or self.files[0].name


CIFAR10 = Archive(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
CIFAR100 = Archive(
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
)
MNIST = Archive(
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
EMNIST = Archive(
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
    "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    name="emnist-gzip.zip",
)
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FASHION_MNIST = (
    Archive(
        f"{_FASHION}/train-images-idx3-ubyte.gz",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    Archive(
        f"{_FASHION}/train-labels-idx1-ubyte.gz",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    Archive(
        f"{_FASHION}/t10k-images-idx3-ubyte.gz",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    Archive(
        f"{_FASHION}/t10k-labels-idx1-ubyte.gz",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)
SVHN = (
    Archive(
        "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    ),
    Archive(
        "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    ),
)

EMNIST_KINDS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")

MEDMNIST = {
    "pathmnist": "a8b06965200029087d5bd730944a56c1",
    "chestmnist": "02c8a6516a18b556561a56cbdd36c4a8",
    "dermamnist": "0744692d530f8e62ec473284d019b0c7",
    "octmnist": "c68d92d5b585d8d81f7112f81e2d0842",
    "pneumoniamnist": "28209eda62fecd6e6a2d98b1501bb15f",
    "retinamnist": "bd4c0672f1bba3e3a89f0e4e876791e4",
    "breastmnist": "750601b1f35ba3300ea97c75c52ff8f6",
    "bloodmnist": "7053d0359d879ad8a5505303e11de1dc",
    "tissuemnist": "ebe78ee8b05294063de985d821c1c34b",
    "organamnist": "68e3f8846a6bd62f0c9bf841c0d9eacc",
    "organcmnist": "b9ceb9546e10131b32923c5bbeaea2b1",
    "organsmnist": "9ab87b696fb54e2a387ebe992d6ed5f1",
}
"""The 28x28 sets of MedMNIST v2 and their MD5, the one hash that its authors publish."""

_UNSTATED = "not stated by its authors"

PUBLISHED: Mapping[str, Published] = {
    "cifar10": Published((CIFAR10,), _UNSTATED),
    "cifar100": Published((CIFAR100,), _UNSTATED),
    "mnist": Published((MNIST,), "CC-BY-SA-3.0"),
    "fashion-mnist": Published(FASHION_MNIST, "MIT", "fashion-mnist"),
    "svhn": Published(SVHN, "for non-commercial use only", "svhn"),
    **{
        f"emnist:{kind}": Published((EMNIST,), _UNSTATED, options={"kind": kind})
        for kind in EMNIST_KINDS
    },
    **{
        f"medmnist:{name}": Published(
            (Archive(f"https://zenodo.org/records/10519652/files/{name}.npz?download=1", md5=md5),),
            "CC-BY-NC-4.0" if name == "dermamnist" else "CC-BY-4.0",
        )
        for name, md5 in MEDMNIST.items()
    },
}
"""All published data sets by their names.

Hashes are those that TensorFlow Datasets 4.9.10 checks (CIFAR, Fashion-MNIST, EMNIST, SVHN), Keras
3.15 (MNIST) and medmnist 3.0.2.
"""


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
    """Return the file or folder of a published data set, downloaded if need be.

    Args:
        dataset: Its name.
        folder: Where to look first: for ``DATASET.npz``, with a hyphen for a colon, and then for
            the files as they were published, in a folder of their own or not.

    Raises:
        Unavailable: If it cannot be had.
    """
    published = PUBLISHED[dataset]
    if folder is not None:
        if (own := folder / own_name(dataset)).exists():
            return own
        for place in (folder / published.folder, folder):
            files = [place / archive.name for archive in published.files]
            if not all(file.exists() for file in files):
                continue
            # Beside other data, files of these names may be another data set's: MNIST's, perhaps.
            shared = bool(published.folder) and place == folder
            if not shared or all(map(has_hash, files, published.files)):
                return place if published.folder else files[0]
    for archive in published.files:
        if not (cache() / published.folder / archive.name).exists():
            fetch(archive, cache() / published.folder)
    return cache() / published.place


def own_name(dataset: str) -> str:
    """Return the name of a file that somebody made of a published data set."""
    return f"{dataset.replace(':', '-')}.npz"


def verify(dataset: str, path: Path) -> None:
    """Check the files of a published data set; those in the cache are fetched again if need be.

    Args:
        dataset: Its name.
        path: Where ``find`` found it.

    Raises:
        InputError: If one is not as it was published.
        Unavailable: If it cannot be had again.
    """
    published = PUBLISHED[dataset]
    place = path if published.folder else path.parent
    for archive in published.files:
        if place == cache() / published.folder:
            fetch(archive, place)
        else:
            check_hash(place / archive.name, archive)


def has_hash(path: Path, archive: Archive) -> bool:
    """Whether a file is an archive as it was published."""
    kind, expected = archive.hash
    return bool(pooch.file_hash(str(path), alg=kind) == expected)


def check_hash(path: Path, archive: Archive) -> None:
    """Check a local archive's hash.

    Raises:
        InputError: If it differs.
    """
    kind, expected = archive.hash
    received = pooch.file_hash(str(path), alg=kind)
    if received != expected:
        raise InputError(
            f"archive {path}: truncated or altered, expected {kind} {expected}, "
            f"received {received}. Delete it, or fetch it again from {archive.url}"
        )


def fetch(archive: Archive, cache: Path) -> Path:
    """Download an archive into a cache, or find it there, and check its hash.

    Raises:
        Unavailable: If it cannot be downloaded, stored, or has the wrong hash.
    """
    pooch.get_logger().setLevel("WARNING")
    kind, expected = archive.hash
    try:
        path = pooch.retrieve(
            archive.url,
            known_hash=f"{kind}:{expected}",
            fname=archive.name,
            path=cache,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
        )
    except ValueError as error:
        raise Unavailable(f"{archive.url}: wrong hash, expected {kind} {expected}") from error
    except (OSError, RuntimeError) as error:
        cause = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise Unavailable(
            f"{archive.name} is not in --data-dir and could not be downloaded from "
            f"{archive.url} ({type(error).__name__}: {cause})"
        ) from error
    return Path(path)
