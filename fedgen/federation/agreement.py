"""What all nodes of a run must agree on: who holds which data, and what is trained.

No framework is imported here: a node that is asked who it is answers without one.
"""

from functools import lru_cache

from fedgen.config import plugins
from fedgen.config.sections import Data
from fedgen.config.sections import Partition as PartitionSettings
from fedgen.config.tree import Config
from fedgen.data import datasets, split
from fedgen.data.partition import Partition


def load_partition(config: Config, seed: int) -> Partition:
    """Return who holds what for a seed, without building an engine."""
    fingerprint = datasets.load(config.data).fingerprint
    return _partition(fingerprint, config.data, config.partition, seed)


def fingerprint(config: Config) -> str:
    """Return what every node must share: the data and, if the model is a user's own, its code."""
    data, code = datasets.load(config.data).fingerprint, plugins.code_of(config.model.name)
    return f"{data}+{code}" if code else data


@lru_cache(maxsize=4)
def _partition(fingerprint: str, data: Data, settings: PartitionSettings, seed: int) -> Partition:
    labels = datasets.load(data).y_train
    return split.split(labels, settings, seed, validation_fraction=data.validation_fraction)
