"""The server: Flower's own FedAvg, and a stopwatch."""

import json
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from quickstart.task import load_data, load_model

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train, save the final model, and write each round's seconds and samples."""
    config = context.run_config
    images, *_ = load_data(config["data"], 0)
    model = load_model(images.shape[1:], config["learning-rate"])
    ends: list[float] = []

    def note_time(number: int, arrays: ArrayRecord) -> None:
        # FedAvg calls this before the first round and at the end of each one.
        ends.append(time.perf_counter())

    result = FedAvg(train_metrics_aggr_fn=_add_samples).start(
        grid=grid,
        initial_arrays=ArrayRecord(model.get_weights()),
        num_rounds=config["num-server-rounds"],
        evaluate_fn=note_time,
    )
    out = Path(config["out"])
    model.set_weights(result.arrays.to_numpy_ndarrays())
    model.save(out.with_suffix(".keras"))
    rounds = [
        {"seconds": end - start, "samples": result.train_metrics_clientapp[number]["samples"]}
        for number, (start, end) in enumerate(zip(ends, ends[1:], strict=False), 1)
    ]
    out.write_text(json.dumps(rounds))


def _add_samples(replies: list[RecordDict], weighted_by_key: str) -> MetricRecord:
    return MetricRecord({"samples": sum(reply["metrics"]["samples"] for reply in replies)})
