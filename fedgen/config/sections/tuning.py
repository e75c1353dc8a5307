"""Which genes of local training settings leave something to do, before a model or engine is there.

They are those that an engine takes from client to client beside learning rate and batch size.
"""

from typing import Literal

from fedgen.config.plugins import is_own
from fedgen.config.sections.model import Model
from fedgen.config.sections.training import Training
from strategies.messages import protocol

GENES = tuple(protocol.FURTHER.values())
"""Names of genomes; those in messages have dashes."""

Targets = Literal["classes", "labels", "quantities"]

_OPTIMIZERS = {"momentum": "sgd", "weight_decay": "adamw"}

_OF_QUANTITIES = ("mean-squared-error", "mean-absolute-error", "huber")

NOTHING_DROPS = "needs a model with Dropout layers of a rate over 0, this one has none"


def why_not(gene: str, optimizer: str, loss: str) -> str | None:
    """Say why an optimiser or a loss leaves a gene nothing to do; ``None`` where it does not.

    Args:
        gene: One of ``GENES``.
        optimizer: What steps.
        loss: What is minimised; of ``"auto"`` nothing is known.
    """
    wanted = _OPTIMIZERS.get(gene, optimizer)
    if optimizer != wanted:
        return f"needs optimizer {wanted!r}, which here is {optimizer!r}"
    if gene == "label_smoothing" and loss in _OF_QUANTITIES:
        return f"needs a cross-entropy, the loss here is {loss!r}, which has no labels to smooth"
    return None


def inapplicable(
    training: Training, targets: Targets | None = None, model: Model | None = None
) -> dict[str, str]:
    """Return the genes that no client can apply, each with the reason, as far as settings tell.

    Whether a model of a user's own has Dropout layers is known to an engine alone, by its
    ``why_not``.

    Args:
        training: How clients train.
        targets: What the data set has, if that is known.
        model: What is trained, likewise.
    """
    of_quantities = training.loss == "auto" and targets == "quantities"
    loss = _OF_QUANTITIES[0] if of_quantities else training.loss
    reasons = {gene: why_not(gene, training.optimizer, loss) for gene in GENES}
    if model is not None and not is_own(model.name):
        hidden = model.layers
        drops = hidden is not None and hidden.hidden_layers and hidden.dropout
        reasons["dropout"] = None if drops else NOTHING_DROPS
    return {gene: reason for gene, reason in reasons.items() if reason}
