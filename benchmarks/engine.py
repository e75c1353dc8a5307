"""How near the engine comes to the machine's matrix products.

A cohort whose batch sizes lie as random genes do, evenly in log2 from 16 to 128,
trains the reference CNN on all cores, on slices of the shortest real length; the
denominator is NumPy's float32 product of 2048 x 2048 matrices on all cores,
measured in turn with it. Medians. A sample trained is counted as the products
of its forward pass, twice again for the two gradients, less the gradient to the
images that nobody needs: 231.6 MFLOP.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import benchmarks
from fedgen import runtime

BATCHES = (128, 95, 71, 53, 39, 29, 22, 16)
SAMPLES = 1000
REPEATS = 7


def measure() -> dict[str, float]:
    """Return samples per second, both rates in GFLOP/s, and their ratio."""
    runtime.import_tensorflow()
    from benchmarks import synthetic
    from fedgen.engine import models
    from fedgen.engine.plan import Plan
    from fedgen.engine.tensorflow.engine import Engine

    data = synthetic.cifar10(train=10_000, test=100)
    model = models.build("cnn", data.shape, data.outputs, 0)
    weights = models.get_weights(model)
    engine = Engine(model, data, workers=runtime.available_cores())
    draw = np.random.default_rng(0)
    plans = [
        Plan(1e-3, batch, draw.permutation(10_000)[None, :SAMPLES].astype(np.int32))
        for batch in BATCHES
    ]
    square = draw.random((2048, 2048), np.float32)
    products, samples = [], []
    with ThreadPoolExecutor(engine.workers) as pool:
        for repeat in range(REPEATS + 1):
            started = time.perf_counter()
            for _ in range(8):
                square @ square
            product = 8 * 2 * 2048**3 / (time.perf_counter() - started)
            started = time.perf_counter()
            list(pool.map(lambda plan: engine.train(weights, plan), plans))
            speed = len(BATCHES) * SAMPLES / (time.perf_counter() - started)
            if repeat:  # the first one warms up
                products.append(product / 1e9)
                samples.append(speed)
    speed = statistics.median(samples)
    gflops = speed * trained_flop(model) / 1e9
    sgemm = statistics.median(products)
    return {
        "samples_per_second": round(speed, 1),
        "gflops": round(gflops, 1),
        "sgemm_gflops": round(sgemm, 1),
        "fraction": round(gflops / sgemm, 3),
    }


def trained_flop(model: object) -> int:
    """Return the floating point operations of one trained sample."""
    products = []
    for layer in model.layers:  # type: ignore[attr-defined]
        if layer.weights:
            positions = layer.output.shape[1] * layer.output.shape[2] if "conv" in layer.name else 1
            products.append(positions * int(np.prod(layer.kernel.shape)))
    return 2 * (3 * sum(products) - products[0])


if __name__ == "__main__":
    runtime.restart_with_huge_pages()
    benchmarks.main(measure, __doc__)
