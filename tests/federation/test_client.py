"""A client's own values: from a message's config to its reply, nothing being played."""

from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from runs import ENGINE

from fedgen.config.tree import build
from fedgen.errors import RunError
from fedgen.federation import client
from fedgen.federation.flower import identify_task
from fedgen.federation.resources import Resources
from strategies.core.hyperparameters import Genome
from strategies.messages import protocol
from strategies.messages.arrays import write_arrays
from strategies.messages.replies import ReplyError, check_applied, read_update

MODEL = {"name": "layers", "hidden_layers": [8], "dropout": 0.5}


@pytest.fixture(scope="module")
def held() -> Resources:
    training = {"optimizer": "sgd", "local_epochs": 1, "engine": ENGINE}
    tree = {"data": {"dataset": "digits"}, "model": MODEL, "training": training}
    return Resources(build(tree), slots=1)


def answer(
    held: Resources, leave: int = 0, moments: bool = False, **further: float
) -> tuple[Message, Message]:
    """Return a message and its reply; of the weights in it, leave some out at the end."""
    identify_task()
    config: dict[str, Any] = {
        protocol.SEED: 0,
        protocol.SERVER_ROUND: 1,
        protocol.FITNESS: "validation",
        protocol.LEARNING_RATE: 0.05,
        protocol.BATCH_SIZE: 32,
        protocol.LOCAL_EPOCHS: 1,
        **{name.replace("_", "-"): value for name, value in further.items()},
    }
    weights = [np.asarray(array) for array in held.model(0).get_weights()]
    sent = write_arrays(weights[: len(weights) - leave])
    names = [protocol.ARRAYS]
    if moments:
        config[protocol.OPTIMIZER_STEPS] = 1
        names += [protocol.FIRST_MOMENTS, protocol.SECOND_MOMENTS]
    content = {protocol.CONFIG: ConfigRecord(config), **dict.fromkeys(names, sent)}
    message = Message(RecordDict(content), dst_node_id=1, message_type="train")
    context = Context(0, 1, {protocol.PARTITION_ID: 0}, RecordDict(), {})
    return message, client.train(client.Client(message, context, held))


def test_what_a_message_asks_for_is_applied_and_acknowledged(held: Resources) -> None:
    given = {"momentum": 0.3, "clip_norm": 0.1, "label_smoothing": 0.2, "dropout": 0.1}
    asked, reply = answer(held, **given)
    metrics = reply.content[protocol.METRICS]
    assert isinstance(metrics, MetricRecord)
    found = {name: metrics[name.replace("_", "-")] for name in given}
    assert found == {name: float(np.float32(value)) for name, value in given.items()}
    reference = asked.content.array_records[protocol.ARRAYS]
    update = read_update(reply, reference, 10_000)
    assigned = Genome(0.05, 32, **given)
    check_applied(assigned, update.applied)
    for name in given:
        _, forged = answer(held, **given)
        del forged.content.metric_records[protocol.METRICS][name.replace("_", "-")]
        with pytest.raises(ReplyError, match=f"applied {name} None, assigned"):
            check_applied(assigned, read_update(forged, reference, 10_000).applied)
    _, without = answer(held)
    assert not set(protocol.FURTHER) & set(without.content.metric_records[protocol.METRICS])
    mine, theirs = (m.content.array_records[protocol.ARRAYS] for m in (reply, without))
    assert any(mine[key].data != theirs[key].data for key in mine)


def test_what_cannot_be_applied_is_refused(held: Resources) -> None:
    with pytest.raises(RunError, match="^weight_decay = 0.1: needs optimizer 'adamw'"):
        answer(held, weight_decay=0.1)


@pytest.mark.parametrize("moments", [False, True])
def test_another_models_message_is_refused_in_one_line(held: Resources, moments: bool) -> None:
    with pytest.raises(RunError, match="weights: array 3: expected the shape .10,., received none"):
        answer(held, leave=1, moments=moments)
