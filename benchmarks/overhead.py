"""Time of a round that is not training, per client, with the 550,570-parameter CNN.

Thirty clients with few samples each play rounds one at a time; what is left of
a round's time without the compiled training and the evaluation is messages,
conversions, checks, aggregation, records and the checkpoint.
"""

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmarks
from fedgen import runtime

ROUNDS, CLIENTS = 6, 30


def measure() -> dict[str, float]:
    """Return milliseconds per client, the median over rounds."""
    runtime.import_tensorflow()
    import numpy as np

    from benchmarks import synthetic
    from fedgen.comparison import rounds, trainers
    from fedgen.config.tree import Arm, build
    from fedgen.engine import models
    from fedgen.federation import client_app
    from fedgen.federation.grid import InProcessGrid
    from fedgen.federation.resources import Resources
    from fedgen.federation.run_config import to_run_config
    from fedgen.files import disk
    from fedgen.runs.shard import Shard

    with tempfile.TemporaryDirectory() as folder:
        data = synthetic.cifar10(train=2000, test=20)
        synthetic.write(data, Path(folder) / "data.npz")
        config = build(
            {
                "data": {"dataset": f"{folder}/data.npz"},
                "partition": {"clients": CLIENTS, "min_samples": 20, "max_samples": 30},
                "cohort": {"fraction": 1.0},
                "run": {"rounds": ROUNDS, "workers": 1},
            }
        )
        here = Resources(config, slots=1)
        engine: Any = here.engine(0)  # whose private parts are watched
        compiled = watch_training(engine)
        start = models.get_weights(here.model(0))
        engine.evaluate_all(start, np.arange(20, dtype=np.int32), "test")  # which traces it
        evaluation, scoring = Stopwatch(engine._evaluate), Stopwatch(engine._score)
        engine._evaluate, engine._score = evaluation, scoring
        arm = Arm(config, "genetic-cfl", 0)
        grid = InProcessGrid(
            client_app.made(lambda _: here), to_run_config(config), clients=CLIENTS, workers=1
        )
        player = trainers.Federated(trainers.build_strategy(arm, here), grid)
        initial = models.get_weights(here.model(0))
        shard = Shard(Path(folder), arm)
        disk.make_folder(shard.folder)
        shard.open(print)
        left = []
        playing = rounds.play(arm, player, here, shard, initial, ROUNDS, {})
        for number in range(ROUNDS + 1):
            before = compiled.seconds + evaluation.seconds + scoring.seconds
            started = time.perf_counter()
            next(playing)
            spent = time.perf_counter() - started
            if number > 1:  # the first training round warms up
                inside = compiled.seconds + evaluation.seconds + scoring.seconds - before
                left.append(spent - inside)
    return {"milliseconds_per_client": round(1000 * statistics.median(left) / CLIENTS, 2)}


class Stopwatch:
    """A function that knows how long it has run in all."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        started = time.perf_counter()
        result = self.function(*arguments)
        self.seconds += time.perf_counter() - started
        return result


def watch_training(engine: Any) -> Stopwatch:
    """Let an engine's compiled training know how long it has run in all."""
    ((kind, training),) = engine._trained_by.items()
    watched = Stopwatch(training.call)
    engine._trained_by[kind] = replace(training, call=watched)
    return watched


if __name__ == "__main__":
    runtime.restart_with_huge_pages()
    benchmarks.main(measure, __doc__)
