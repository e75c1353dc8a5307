"""The client: everything is built anew for every message."""

import keras
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from quickstart.task import Images, Labels, load_data, load_model

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Fit the received weights to the client's samples."""
    x, y, _, _ = _data(context)
    model = _model(message, context, x.shape[1:])
    history = model.fit(
        x,
        y,
        epochs=context.run_config["local-epochs"],
        batch_size=context.run_config["batch-size"],
        verbose=0,
    )
    metrics = {
        "num-examples": len(x),
        "samples": len(history.epoch) * len(x),
        "train_loss": history.history["loss"][-1],
        "train_acc": history.history["accuracy"][-1],
    }
    arrays = ArrayRecord(model.get_weights())
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)})
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the received weights on the client's held-out samples."""
    _, _, x, y = _data(context)
    model = _model(message, context, x.shape[1:])
    loss, accuracy = model.evaluate(x, y, verbose=0)
    metrics = {"num-examples": len(x), "eval_loss": loss, "eval_acc": accuracy}
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)


def _data(context: Context) -> tuple[Images, Labels, Images, Labels]:
    partition = int(context.node_config["partition-id"])
    return load_data(context.run_config["data"], partition)


def _model(message: Message, context: Context, shape: tuple[int, ...]) -> keras.Sequential:
    # The quickstart frees what the last message left behind.
    keras.backend.clear_session()
    model = load_model(shape, context.run_config["learning-rate"])
    model.set_weights(message.content["arrays"].to_numpy_ndarrays())
    return model
