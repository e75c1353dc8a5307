"""Rows and a config for what a run comes to."""

from fedgen.config.sections import Run
from fedgen.config.sections.model import Model
from fedgen.config.tree import Config
from fedgen.runs.rows import RoundRow


def row(strategy: str, seed: int, number: int, test: float, validation: float) -> RoundRow:
    return RoundRow(
        strategy=strategy,
        seed=seed,
        round=number,
        test_accuracy=test,
        test_loss=2.0 - test,
        validation_accuracy=validation,
        validation_loss=1.0,
        train_loss=None if number == 0 else 0.5,
        clients=30,
        rejected=1,
        failed=2,
        client_epochs=10 * number,
        samples=100 * number,
        bytes_down=7 + number,
        bytes_up=5,
        seconds=0.25,
    )


CONFIG = Config(
    run=Run(rounds=2, seed=4, seeds=2, strategies=("genetic-cfl", "fedavg")),
    model=Model(name="mlp"),
)
