"""The metrics that models are measured by: their names, and which of two values is the better."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedgen.errors import InputError, unknown


@dataclass(frozen=True)
class Metric:
    """What is said of one metric.

    Attributes:
        name: What columns are called after: ``test_<name>`` and ``validation_<name>``.
        title: What people call it.
        higher: Whether more is better.
        share: Whether it lies from 0 to 1, so that differences are told in points.
    """

    name: str
    title: str
    higher: bool = True
    share: bool = True

    def better(self, one: float, other: float) -> bool:
        """Whether one value is better than another."""
        return one > other if self.higher else one < other

    def reaches(self, value: float, target: float) -> bool:
        """Whether a value is as good as a target."""
        return value >= target if self.higher else value <= target

    def best(self, values: Iterable[float]) -> float:
        """Return the best of some values, at least one."""
        return max(values) if self.higher else min(values)

    def worst(self, values: Iterable[float]) -> float:
        """Return the worst of some values, at least one."""
        return min(values) if self.higher else max(values)


ACCURACY = Metric("accuracy", "accuracy")
LOSS = Metric("loss", "loss", higher=False, share=False)
MACRO_F1, MICRO_F1 = Metric("macro_f1", "macro F1"), Metric("micro_f1", "micro F1")
AUC = Metric("auc", "AUC")
R2 = Metric("r2", "R²", share=False)

MEASURED: dict[str, tuple[Metric, ...]] = {
    "classes": (
        Metric("balanced_accuracy", "balanced accuracy"),
        MACRO_F1,
        Metric("top5_accuracy", "top-5 accuracy"),
        AUC,
        Metric("ece", "calibration error", higher=False),
    ),
    "labels": (MACRO_F1, MICRO_F1, AUC),
    "quantities": (
        Metric("rmse", "RMSE", higher=False, share=False),
        Metric("mae", "mean absolute error", higher=False, share=False),
        R2,
    ),
}
"""What is measured beside accuracy and loss, by what the targets are (``data.targets``)."""

KNOWN = {
    metric.name: metric
    for metric in (ACCURACY, LOSS, *(metric for kind in MEASURED.values() for metric in kind))
}
"""All of them by name."""

AUTO = "auto"

USUAL = {AUTO: ACCURACY, "classes": ACCURACY, "labels": MICRO_F1, "quantities": R2}
"""What decides unless somebody says otherwise."""


def own_name(function: str) -> str:
    """Return what a user's own metric, MODULE:FUNCTION, is called."""
    return function.partition(":")[2]


def measured(targets: str, own: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of what is measured beside accuracy and loss.

    Args:
        targets: What the targets are; "auto" counts as classes.
        own: Metrics of a user's own, MODULE:FUNCTION each.
    """
    known = MEASURED.get(targets, MEASURED["classes"])
    return (*(metric.name for metric in known), *map(own_name, own))


def deciding(name: str, better: str, targets: str, own: Sequence[str] = ()) -> Metric:
    """Return the metric that decides which round or strategy is the better one.

    Args:
        name: What somebody names; "auto" for the usual one.
        better: "higher" or "lower" as somebody says so, or "auto": as is known of the metric, and
            "higher" for one of a user's own.
        targets: What the targets are; "auto" counts as classes.
        own: Metrics of a user's own, MODULE:FUNCTION each.

    Raises:
        InputError: If there is no such metric for such targets.
    """
    every = {metric.name: metric for metric in MEASURED.get(targets, MEASURED["classes"])}
    every[LOSS.name] = LOSS
    if targets != "quantities":
        every[ACCURACY.name] = ACCURACY
    for mine in map(own_name, own):
        every[mine] = Metric(mine, mine.replace("_", " "), share=False)
    found = USUAL[targets] if name == AUTO else every.get(name)
    if found is None:
        raise InputError(f"run.metric: {unknown('metric', name, sorted(every))}")
    higher = found.higher if better == AUTO else better == "higher"
    return Metric(found.name, found.title, higher, found.share)
