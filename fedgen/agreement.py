"""What all nodes of a run must agree on: who holds which data, and what is trained.

No framework is imported here: a node that is asked who it is answers without one.
"""

from functools import lru_cache

from fedgen import datasets, extensions, splits
from fedgen.config import Config
from fedgen.partition import Partition
from fedgen.sections import Data
from fedgen.sections import Partition as PartitionSettings


def load_partition(config: Config, seed: int) -> Partition:
    """Return who holds what for a seed, without building an engine."""
    fingerprint = datasets.load(config.data).fingerprint
    return _partition(fingerprint, config.data, config.partition, seed)


def fingerprint(config: Config) -> str:
    """Return what every node must share: the data and, if the model is a user's own, its code."""
    data, code = datasets.load(config.data).fingerprint, extensions.code_of(config.model.name)
    return f"{data}+{code}" if code else data


@lru_cache(maxsize=4)
def _partition(fingerprint: str, data: Data, settings: PartitionSettings, seed: int) -> Partition:
    labels = datasets.load(data).y_train
    return splits.split(labels, settings, seed, validation_fraction=data.validation_fraction)
