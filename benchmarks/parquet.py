"""How fast images come out of a Parquet file, beside ``datasets`` where it is installed.

60,000 PNG cells of MNIST's size, which hold blocks as digits do, become one array: by fedgen's
reader, and by the library ``datasets`` in NumPy's format. Both read the same file from the page
cache, in turn, in one process: seconds, medians of all turns, and the ratio of them.
"""

import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import benchmarks
from fedgen.data import formats

IMAGES, TURNS = 60_000, 3


def write(path: Path) -> None:
    """Write the file as hubs publish such data sets."""
    import pyarrow as pa
    from PIL import Image
    from pyarrow.parquet import write_table

    draw = np.random.default_rng(0)
    blocks = draw.integers(0, 256, (IMAGES, 7, 7), np.uint8) * (draw.random((IMAGES, 7, 7)) < 0.3)
    cells = []
    for image in blocks.astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "png")
        cells.append({"bytes": stream.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = draw.integers(0, 10, IMAGES)
    write_table(pa.table({"image": pa.array(cells, kind), "label": labels}), path)


def theirs(path: Path, cache: Path) -> np.ndarray | None:
    """Return the images as ``datasets`` reads them, nothing where it is not installed."""
    try:
        import datasets
    except ImportError:
        return None
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    found = datasets.Dataset.from_parquet(str(path), features=features, cache_dir=str(cache))
    return np.asarray(found.with_format("numpy")[:]["image"])


def measure() -> dict[str, float]:
    """Return seconds for all images, and how they compare."""
    seconds: dict[str, list[float]] = {"fedgen": [], "datasets": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.parquet"
        write(path)
        for turn in range(TURNS):
            began = time.perf_counter()
            mine = np.asarray(formats.read(path).train.x)
            seconds["fedgen"].append(time.perf_counter() - began)
            began = time.perf_counter()
            other = theirs(path, Path(folder) / str(turn))
            if other is not None:
                seconds["datasets"].append(time.perf_counter() - began)
                if not np.array_equal(mine, other):
                    sys.exit("the two read different images")
    found = {name: round(statistics.median(times), 2) for name, times in seconds.items() if times}
    if "datasets" in found:
        found["fedgen to datasets"] = round(found["fedgen"] / found["datasets"], 2)
    return found


if __name__ == "__main__":
    benchmarks.main(measure, __doc__)
