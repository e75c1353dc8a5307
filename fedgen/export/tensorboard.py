"""Event files for TensorBoard: ``RUN/tensorboard``, a folder per arm, a step per round.

They are records of TensorFlow's own protocol buffers, as ``tf.summary`` cannot write without
the package ``tensorboard``. Only whoever looks at them needs that.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fedgen.config.tree import Arm
from fedgen.errors import RunError
from fedgen.export.scalars import curve, rows_of, scalars
from fedgen.files import disk
from fedgen.report.results import Results
from fedgen.runs import directory, shard
from fedgen.runs.rows import RoundRow
from fedgen.runs.watch import Watcher

FOLDER = "tensorboard"
NAME = "events.out.tfevents"
"""What TensorBoard knows an event file by."""


class EventFile:
    """The event file of one arm: it holds every round once.

    Values are stored as float32, which is what TensorBoard plots.

    Args:
        run: The run directory.
        arm: The arm; event files that it already has are removed.
        rows: The rounds that it has finished.

    Raises:
        RunError: If it cannot be written.
    """

    def __init__(self, run: Path, arm: Arm, rows: Sequence[RoundRow]) -> None:
        import tensorflow as tf

        folder = run / FOLDER / arm.name
        disk.make_folder(folder.parent)
        disk.make_folder(folder)
        for old in folder.glob(f"{NAME}.*"):
            disk.remove(old)
        # Later files have greater names: TensorBoard reads them in that order.
        self._path = folder / f"{NAME}.{time.time_ns()}"
        self._events = tf.compat.v1
        self._latest: dict[str, float] = {}
        points = curve(rows)
        # When a round ended is not recorded, but how long each one took is.
        began = time.time() - (points[-1]["cost/seconds"] if points else 0)
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        with self._told():
            self._writer = tf.io.TFRecordWriter(str(self._path))
            self._write(wall_time=began, file_version="brain.Event:2")
            # A TensorBoard that is open now drops what it knows from this step on.
            self._write(wall_time=began, step=0, session_log=start)
            for row, point in zip(rows, points, strict=True):
                self._add(row.round, point, began + point["cost/seconds"])
            self._writer.flush()

    def add(self, row: RoundRow) -> None:
        """Write a round that has just been finished; it is to be seen at once.

        Raises:
            RunError: If it cannot be written.
        """
        with self._told():
            self._add(row.round, scalars(self._latest, row), time.time())
            self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        with suppress(RunError), self._told():  # whatever was to be written was flushed
            self._writer.close()

    def _add(self, number: int, point: dict[str, float], moment: float) -> None:
        value = self._events.Summary.Value
        values = [value(tag=name, simple_value=number) for name, number in point.items()]
        summary = self._events.Summary(value=values)
        self._write(wall_time=moment, step=number, summary=summary)
        self._latest = point

    def _write(self, **fields: Any) -> None:
        self._writer.write(self._events.Event(**fields).SerializeToString())

    @contextmanager
    def _told(self) -> Iterator[None]:
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            raise RunError(f"{self._path}: cannot be written ({error.message})") from error


class EventFiles(Watcher):
    """Writes the event files of a run while it is played.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._files: dict[tuple[str, int], EventFile] = {}

    def begin(
        self, text: str, arms: Sequence[Arm], finished: Sequence[int], at_once: int = 1
    ) -> None:
        """Begin a seed's event files with the rounds that are there already."""
        for arm in arms:
            rows = shard.Shard(self._run, arm).rows("rounds.csv")
            self._files[arm.strategy, arm.seed] = EventFile(self._run, arm, rows)

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """Add a round to every arm that has played it."""
        for row in rows:
            self._files[row.strategy, row.seed].add(row)

    def warn(self, text: str) -> None:
        """Leave it to whoever is looked at."""

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()


def write(results: Results) -> Path:
    """Write the event files of a run's finished rounds and return their folder.

    Raises:
        InputError: If another process is playing the run.
        RunError: If they cannot be written.
    """
    with directory.claim(results.path, new=False):
        for arm in results.run.arms:
            EventFile(results.path, arm, rows_of(arm, results.rounds)).close()
    return results.path / FOLDER
