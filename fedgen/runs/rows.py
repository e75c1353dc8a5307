"""Rows of CSV files. Columns with a default are only in files of runs that have use for them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RoundRow:
    """One round of one arm. Costs are this round's alone; seconds include evaluation.

    A round that was not evaluated (``run.evaluate_every``) has neither accuracies nor losses of
    the server's.
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

    @property
    def evaluated(self) -> bool:
        """Whether the server evaluated the round's model."""
        return self.test_accuracy is not None


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


@dataclass(frozen=True)
class PartitionRow:
    """What one client holds under one seed.

    ``start`` and ``stop`` bound its slice of the training set, where it is one; ``train`` and
    ``validation`` count its samples; ``labels`` counts the training samples of every class, from
    class 0 on, with spaces between.
    """

    seed: int
    client: int
    start: int | None
    stop: int | None
    train: int
    validation: int
    labels: str

    @property
    def counts(self) -> list[int]:
        """Training samples per class; none where the text holds something else."""
        words = self.labels.split()
        return [int(w) for w in words] if all(w.isdecimal() and len(w) < 19 for w in words) else []


@dataclass(frozen=True)
class EvaluationRow:
    """An arm's latest model on the validation samples of one client, cohort or not."""

    strategy: str
    seed: int
    round: int
    client: int
    samples: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class EndedRow:
    """An arm that ended before the last round that was asked for.

    Attributes:
        strategy: Whose arm.
        seed: Of which seed.
        round: The round that is not counted.
        how: ``DIVERGED`` or ``BUDGET``.
        why: The reason, for people.
    """

    strategy: str
    seed: int
    round: int
    how: str
    why: str

    @property
    def compared(self) -> bool:
        """Whether what it has come to can be held against others: its budget bought a round."""
        return self.how == BUDGET and self.round > 1


DIVERGED, BUDGET = "diverged", "budget"
"""How an arm ends early: too few of its replies can be used, or the next round costs too much."""


Row = RoundRow | ClientRow | PartitionRow | EvaluationRow | EndedRow
