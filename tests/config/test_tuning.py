"""Which genes settings leave something to do."""

from typing import Any

import pytest

from fedgen.config.sections import Training
from fedgen.config.sections.model import Model
from fedgen.config.sections.tuning import GENES, NOTHING_DROPS, inapplicable, why_not
from strategies.core.hyperparameters import Genome
from strategies.messages import protocol

DROPS = Model(name="layers", hidden_layers=(4,), dropout=0.1)


@pytest.mark.parametrize(
    ("settings", "rest", "refused"),
    [
        ({}, (), ["momentum", "weight_decay"]),
        ({"optimizer": "sgd"}, (), ["weight_decay"]),
        ({"optimizer": "adamw"}, ("classes",), ["momentum"]),
        ({"optimizer": "sgd", "loss": "huber"}, (), ["weight_decay", "label_smoothing"]),
        ({"optimizer": "sgd"}, ("quantities",), ["weight_decay", "label_smoothing"]),
        ({"optimizer": "sgd"}, ("labels",), ["weight_decay"]),
        ({"optimizer": "sgd"}, ("classes", Model(name="cnn")), ["weight_decay", "dropout"]),
        ({"optimizer": "sgd"}, ("classes", DROPS), ["weight_decay"]),
        ({"optimizer": "sgd"}, (None, Model(name="mlp-324-108-bn-dropout")), ["weight_decay"]),
        ({"optimizer": "sgd"}, (None, Model(name="some:model")), ["weight_decay"]),
        (
            *({"optimizer": "sgd"}, ("classes", Model(name="layers", dropout=0.1))),
            ["weight_decay", "dropout"],
        ),
    ],
)
def test_settings_refuse(settings: dict[str, Any], rest: Any, refused: list[str]) -> None:
    assert [*inapplicable(Training(**settings), *rest)] == refused


def test_reasons_are_a_line_each() -> None:
    reasons = inapplicable(Training(loss="huber"), "quantities", Model(name="cnn"))
    assert reasons == {
        "momentum": "needs optimizer 'sgd', which here is 'adam'",
        "weight_decay": "needs optimizer 'adamw', which here is 'adam'",
        "label_smoothing": "needs a cross-entropy, the loss here is 'huber', which has no labels "
        "to smooth",
        "dropout": NOTHING_DROPS,
    }
    assert why_not("clip_norm", "adagrad", "huber") is None


def test_names_are_those_of_genomes_and_messages() -> None:
    assert set(GENES) <= set(vars(Genome(1.0, 1)))
    assert [gene.replace("_", "-") for gene in GENES] == [*protocol.FURTHER]
