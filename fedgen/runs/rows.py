"""Rows of CSV files. Columns with a default are only in files of runs that have use for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from strategies.core.genes import DECLARED_ONLY, OF_THE_SERVER


@dataclass(frozen=True)
class RoundRow:
    """One round of one arm. Costs are this round's alone; seconds include evaluation.

    Where arms are played at once, seconds go by while others are at work.

    A round that was not evaluated (``run.evaluate_every``) has neither metrics nor losses of the
    server's, and quantities have no accuracy. ``measured`` has the other metrics, by the names of
    their columns: ``test_macro_f1`` and so on; and the settings of the strategy's server, where
    they are genes.
    """

    strategy: str
    seed: int
    round: int
    test_accuracy: float | None
    test_loss: float | None
    validation_accuracy: float | None
    validation_loss: float | None
    train_loss: float | None
    clients: int
    rejected: int
    failed: int
    client_epochs: int
    samples: int
    bytes_down: int
    bytes_up: int
    seconds: float
    simulated_seconds: float | None = None
    """How long it would take on simulated devices, where there are any."""
    measured: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def measures(column: str) -> bool:
        """Whether a column is one of ``measured``."""
        return column.startswith(("test_", "validation_")) or column in OF_THE_SERVER

    @property
    def evaluated(self) -> bool:
        """Whether the server evaluated the round's model."""
        return self.test_loss is not None

    def value(self, split: str, metric: str) -> float | None:
        """Return a metric of the model on ``"test"`` or ``"validation"``, if it has one."""
        return self.column(f"{split}_{metric}")

    def column(self, name: str) -> float | None:
        """Return what stands in a column of numbers, if anything does."""
        if name in self.measured:
            return self.measured[name]
        known = vars(self).get(name)
        return known if isinstance(known, int | float) else None


@dataclass(frozen=True)
class ClientRow:
    """One cohort client in one round of one arm; ``None`` is an empty field."""

    strategy: str
    seed: int
    round: int
    client: int
    cluster: int | None
    learning_rate: float | None
    batch_size: int | None
    applied_learning_rate: float | None
    applied_batch_size: int | None
    fitness: float | None
    train_loss: float | None
    samples: int
    origin: str | None
    parent: int | None
    batch_parent: int | None
    mutation: float | None
    status: str
    seconds: float | None
    local_epochs: int | None = None
    momentum: float | None = None
    """Further genes, where any evolve; arms without them leave them empty."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Genes beside those above, where they are declared; and the deciding metric on the client's
    own samples, of the model that it was sent and of its own after training, where that is asked
    for: ``global_accuracy``, ``own_accuracy``."""

    @staticmethod
    def measures(column: str) -> bool:
        """Whether a column is one of ``measured``."""
        return column.startswith(("global_", "own_")) or column in DECLARED_ONLY


@dataclass(frozen=True)
class PartitionRow:
    """What one client holds under one seed.

    ``start`` and ``stop`` bound its slice of the training set, where it is one; ``train`` and
    ``validation`` count its samples; ``labels`` counts the training samples of every class, from
    class 0 on, with spaces between; ``indices`` are those it trains and validates on, as
    ``partition.file`` takes them; ``name`` is what the data call it, where they do.
    """

    seed: int
    client: int
    start: int | None
    stop: int | None
    train: int
    validation: int
    labels: str
    indices: str | None = None
    name: str | None = None

    @property
    def counts(self) -> list[int]:
        """Training samples per class; none where the text holds something else."""
        return counts(self.labels)


@dataclass(frozen=True)
class EvaluationRow:
    """An arm's latest model on one client's own samples, in a cohort or not.

    They are its test samples where the data have some of its own, else its validation samples.
    ``measured`` has the other metrics, and those of the client's own model, which goes on from the
    latest one by its local training: ``own_accuracy`` and so on.
    """

    strategy: str
    seed: int
    round: int
    client: int
    samples: int
    accuracy: float | None
    loss: float
    measured: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def measures(column: str) -> bool:
        """Whether a column is one of ``measured``."""
        return column.isidentifier()

    def value(self, metric: str) -> float | None:
        """Return a metric, if there is one."""
        own: dict[str, float | None] = {"accuracy": self.accuracy, "loss": self.loss}
        return own.get(metric, self.measured.get(metric))


@dataclass(frozen=True)
class ClassRow:
    """An arm's latest model on the test samples of one class, or on those that have one label.

    ``samples`` counts those, and ``taken`` says for which classes the model took them: a count per
    class, from class 0 on, with spaces between; nothing of several labels.
    """

    strategy: str
    seed: int
    round: int
    label: str
    samples: int
    recall: float
    precision: float
    f1: float
    taken: str

    @property
    def counts(self) -> list[int]:
        """The counts of ``taken``; none where the text holds something else."""
        return counts(self.taken)


@dataclass(frozen=True)
class EndedRow:
    """An arm that ended before the last round that was asked for.

    Attributes:
        strategy: Whose arm.
        seed: Of which seed.
        round: The round that is not counted.
        how: ``DIVERGED``, ``BUDGET`` or ``PATIENCE``.
        why: The reason, for people.
    """

    strategy: str
    seed: int
    round: int
    how: str
    why: str

    @property
    def compared(self) -> bool:
        """Whether what it has come to can be held against others: it has played a round."""
        return self.how in (BUDGET, PATIENCE) and self.round > 1


DIVERGED, BUDGET, PATIENCE = "diverged", "budget", "patience"
"""How an arm ends early: too few of its replies can be used, the next round costs too much, or what
was spent since the best one is enough."""


Row = RoundRow | ClientRow | PartitionRow | EvaluationRow | ClassRow | EndedRow


def counts(text: str) -> list[int]:
    """Return whole numbers with spaces between; none where a text holds something else."""
    words = text.split()
    return [int(w) for w in words] if all(w.isdecimal() and len(w) < 19 for w in words) else []
