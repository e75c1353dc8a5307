"""The sections of the config, each setting with its type, range, default and meaning."""

from fedgen.config.sections.data import DATASETS, HUB, SYNTHETIC, Data, Partition
from fedgen.config.sections.federation import (
    AggregationSettings,
    Cohort,
    Faults,
    Messages,
    PrivacySettings,
)
from fedgen.config.sections.genes import Genes
from fedgen.config.sections.model import Layers, Model
from fedgen.config.sections.run import CENTRALISED, Run, is_pooled
from fedgen.config.sections.training import AUGMENTATIONS, Devices, Training

__all__ = [
    "AUGMENTATIONS",
    "CENTRALISED",
    "DATASETS",
    "HUB",
    "SYNTHETIC",
    "AggregationSettings",
    "Cohort",
    "Data",
    "Devices",
    "Faults",
    "Genes",
    "Layers",
    "Messages",
    "Model",
    "Partition",
    "PrivacySettings",
    "Run",
    "Training",
    "is_pooled",
]
