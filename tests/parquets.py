"""Images, labels and writers as hubs publish them in Parquet files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

DRAW = np.random.default_rng(0)
LEARNED = "data: column 'label' is learned"
GREY = DRAW.integers(0, 256, (7, 6, 5), np.uint8)
COLOUR = DRAW.integers(0, 256, (7, 6, 5, 3), np.uint8)
LABELS = [2, 0, 1, 2, 2, 0, 1]
WRITERS = ["f01", "f02", "f01", "f01", "f03", "f03", "f02"]
CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(image: np.ndarray, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def cells(images: np.ndarray, kind: str = "png") -> pa.Array:
    return pa.array([{"bytes": encoded(image, kind), "path": None} for image in images], CELL)


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path
