"""What the engine on JAX promises, checked on the device that is here; exits with 1 if it fails.

The same trainings as in the tests are held against what TensorFlow came to on a CPU (``--reference
FILE``, written by ``PYTHONPATH=tests python -m parity FILE``), and those of a client alone against
the same client's in company, in other lanes, with more and with fewer of them. On a CPU bytes are
promised, on a GPU they are counted. Every figure is told on stderr as soon as it is known.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ["FEDGEN_TEST_ENGINE"] = "jax"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks import refusing, show, told
from fedgen import runtime

LANES = (32, 4)
MODELS = ("cnn", "mlp-324-108-bn-dropout")

STEPS = 40
"""Steps of a training in company at most: Adam makes much of a rounding, step by step."""

CLOSE = {"cpu": 1e-3, "gpu": 1e-2}
"""How far weights may be apart: on a GPU, whose sums differ by their shapes, ten steps of Adam."""


def bytes_in_company() -> dict[str, Any]:
    """Return, by model, how many of the trainings are the same bytes whoever is beside them."""
    import numpy as np
    from trainings import same

    from fedgen.config.sections import Data
    from fedgen.data import datasets
    from fedgen.engine import models
    from fedgen.engine.jax.engine import Engine
    from fedgen.engine.plan import Plan, Trained

    digits = datasets.load(Data(dataset="digits"))
    draw = np.random.default_rng(0)
    batches = (5, 16, 33, 100, 1, 75, 32, 64)
    plans = [
        Plan(1e-3, batch, draw.permutation(1437)[None, : min(300, STEPS * batch)].astype(np.int32))
        for batch in batches
    ]
    found: dict[str, Any] = {}
    for name in MODELS:
        model = models.build(name, digits.shape, digits.outputs, 0)
        weights = models.get_weights(model)
        alone: list[Trained] = []
        for lanes in LANES:
            engine = Engine(model, digits, workers=lanes)
            alone = alone or [engine.train(weights, plan) for plan in plans]
            with ThreadPoolExecutor(8) as pool:
                beside = list(pool.map(lambda plan: engine.train(weights, plan), plans[::-1]))  # noqa: B023
            pairs = list(zip(alone, beside[::-1], strict=True))
            differences = [
                np.abs(np.subtract(a, b, dtype=np.float64)).max()
                for x, y in pairs
                for a, b in zip(x.weights, y.weights, strict=True)
            ]
            place = f"{name}, {lanes} lanes"
            found[place] = told(
                place,
                {
                    "same": sum(same(x, y) for x, y in pairs),
                    "of": len(pairs),
                    "largest difference": float(np.max(differences)),  # NaN, if there is one
                },
            )
    return found


def against(reference: Path) -> dict[str, float]:
    """Return, by training, the largest difference of a weight from TensorFlow's."""
    import numpy as np
    import parity

    with np.load(reference, allow_pickle=False) as bundle:
        wanted = dict(bundle)
    found = {}
    for name, case in parity.CASES.items():
        trained = parity.figures(parity.train(case))
        apart = [
            np.abs(np.asarray(value) - wanted[f"{name}/{key}"]).max()
            for key, value in trained.items()
            if key.startswith("weight")
        ]
        found[name] = told(name, float(np.max(apart)))
    return found


def main() -> int:
    """Check, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--reference", type=Path, help="what TensorFlow came to")
    arguments = parser.parse_args()
    from fedgen.config.sections import Training
    from fedgen.engine import engines

    with refusing():
        engines.require_gpu(Training(engine="jax"))
    runtime.import_jax()
    import jax

    device = jax.devices()[0]
    found: dict[str, Any] = {"device": device.device_kind, "bytes": bytes_in_company()}
    close = CLOSE["cpu" if device.platform == "cpu" else "gpu"]
    good = all(part["largest difference"] < close for part in found["bytes"].values())
    if device.platform == "cpu":
        good &= all(part["same"] == part["of"] for part in found["bytes"].values())
    if arguments.reference:
        found["from TensorFlow"] = against(arguments.reference)
        good &= all(apart < close for apart in found["from TensorFlow"].values())
    found["good"] = bool(good)
    show(found, arguments.json)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
