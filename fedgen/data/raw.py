"""What a reader of a format finds in files: arrays as they are, nothing scaled or mapped yet."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of one split.

    Attributes:
        x: Array of shape (n, ...): what models see, as it is stored.
        y: Array of shape (n,) or (n, k): what they are to say.
        client: Array of shape (n,), integers or strings: whose samples these are; ``None`` where
            the data do not say.
    """

    x: Array
    y: Array
    client: Array | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Raw:
    """A data set as its files hold it.

    Attributes:
        train: What clients train on.
        test: What the server tests on; ``None`` where the files have one split only.
        validation: The data's own validation split, if they have one.
        names: What the data call the classes 0, 1, 2 and so on; empty where they do not say.
        usual: What pixel values of this format are divided by, ``None`` for what their type says.
        notes: What users must hear of how the files were read, a line each.
        closed: Whether ``names`` are all the classes, also those that no training sample has.
    """

    train: Samples
    test: Samples | None = None
    validation: Samples | None = None
    names: tuple[str, ...] = ()
    usual: float | None = None
    notes: tuple[str, ...] = ()
    closed: bool = False


def of(arrays: dict[str, Any], **told: Any) -> Raw:
    """Make it of arrays by the names that an ``.npz`` file has them under.

    Args:
        arrays: ``x_train`` and ``y_train``, and what there is of ``client``, ``x_test``,
            ``y_test``, ``client_test``, ``x_validation``, ``y_validation``.
        told: Further attributes of ``Raw``.
    """
    train = Samples(arrays["x_train"], arrays["y_train"], arrays.get("client"))
    test = validation = None
    if "x_test" in arrays:
        test = Samples(arrays["x_test"], arrays["y_test"], arrays.get("client_test"))
    if "x_validation" in arrays:
        validation = Samples(arrays["x_validation"], arrays["y_validation"])
    return Raw(train, test, validation, **told)
