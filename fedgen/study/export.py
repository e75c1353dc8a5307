"""The way from a study to a federation: the best architecture as a model file."""

from typing import Any

from fedgen.config.toml import to_toml
from fedgen.study.estimators import KerasModel
from fedgen.study.ledger import LEAK, Ledger
from fedgen.study.ranking import Choice


def to_model_file(ledger: Ledger, choice: Choice) -> str:
    """Return what ``fedgen compare --model`` reads, with a comment on what it does not carry."""
    settings = choice.standing.case.settings
    architecture = {*type(settings.federated()).model_fields, "model", "depth", "width"}
    left = [
        f"{name} = {value!r}"
        for name, value in settings.model_dump().items()
        if name not in architecture
        and name in {**ledger.study.fixed, **dict(choice.standing.case.varied)}
    ]
    lines = [
        f"Best of the study {ledger.study.study.name}: {choice.reason}.",
        *([f"It {LEAK}."] if ledger.study.leaks else []),
        "Federation carries the architecture alone; clients train with Adam or SGD at rates and",
        "batch sizes of their own, on pixels scaled to [0, 1].",
        f"Not carried: {', '.join(left) or 'nothing that the study set'}.",
    ]
    if not isinstance(settings, KerasModel):
        lines.append("Weights start Glorot uniform, as in scikit-learn but for logistic's factor.")
    if ledger.study.data.pixels == "raw":
        lines.append("The study's pixels were raw.")
    model: dict[str, Any] = {"name": ""} | settings.federated().model_dump(mode="json")
    return (
        "".join(f"# {' '.join(text.split())}\n" for text in lines)
        + "\n"
        + to_toml({"model": model})
    )
