"""Event files: every round once, at its step, to be seen while the run goes on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import FLAGS, finish, rows, start
from shards import MADE_WITH, arm, checkpoint, client_row, new_shard, round_row

from fedgen import runtime
from fedgen.errors import InputError, RunError
from fedgen.export.tensorboard import EventFiles, write
from fedgen.report.results import Results
from fedgen.runs import directory
from fedgen.runs.run import Run

ARM = arm("fedavg", 0)
Point = tuple[int, float]


def points(folder: Path) -> dict[str, list[Point]]:
    """The points of every curve in a folder, by TensorFlow's own reader and protocol buffers."""
    import tensorflow as tf

    found: dict[str, list[Point]] = {}
    for file in sorted(folder.glob("*tfevents*")):
        events = [
            tf.compat.v1.Event.FromString(record.numpy())
            for record in tf.data.TFRecordDataset(str(file))
        ]
        assert events[0].file_version == "brain.Event:2"
        assert [event.wall_time for event in events] == sorted(e.wall_time for e in events)
        for event in events:
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.fixture
def files(tmp_path: Path) -> Iterator[EventFiles]:
    runtime.import_tensorflow()
    with EventFiles(tmp_path) as opened:
        yield opened


def test_finished_rounds_are_replayed_and_new_ones_seen_at_once(
    files: EventFiles, tmp_path: Path
) -> None:
    shard = new_shard(tmp_path, 2)
    folder = tmp_path / "tensorboard" / "fedavg-seed0"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1").write_bytes(b"of a part of the run that was killed")
    (folder / "notes.txt").write_text("mine")
    files.begin("seed 0", [ARM], [1])
    assert [step for step, _ in points(folder)["accuracy/test"]] == [0, 1]
    with shard.owned():
        shard.open(pytest.fail)
        shard.commit(checkpoint(2), [round_row(2)], [client_row(2, 0)], MADE_WITH)
    files.finished([round_row(2)])
    found = points(folder)  # the file is still open
    assert [step for step, _ in found["accuracy/test"]] == [0, 1, 2]
    assert found["cost/client-epochs"] == [(0, 4), (1, 8), (2, 12)]
    assert found["loss/test"] == [(step, float("inf")) for step in range(3)]
    assert (folder / "notes.txt").read_text() == "mine"


def test_rows_that_were_not_committed_are_not_replayed(files: EventFiles, tmp_path: Path) -> None:
    shard = new_shard(tmp_path, 1)
    with (shard.folder / "rounds.csv").open("a") as stream:
        stream.write("fedavg,0,1,0.1")  # the torn end of a killed process
    files.begin("seed 0", [ARM], [0])
    assert [step for step, _ in points(tmp_path / "tensorboard" / ARM.name)["loss/test"]] == [0]


def test_nothing_is_written_through_a_link(files: EventFiles, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    folder = tmp_path / "tensorboard" / ARM.name
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.9").symlink_to(elsewhere / "file")
    files.begin("seed 0", [ARM], [-1])
    assert (elsewhere / "file").read_text() == "mine"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(RunError, match="is a link"):
        files.begin("seed 0", [ARM], [-1])
    assert [path.name for path in elsewhere.iterdir()] == ["file"]


def test_a_run_that_is_played_is_not_exported(tmp_path: Path) -> None:
    run = Run(tmp_path, ARM.config, {})
    with directory.claim(tmp_path, new=False), pytest.raises(InputError, match=str(os.getpid())):
        write(Results(run, [round_row(0)], []))


LIMITED = """
import resource, sys
from pathlib import Path
import fedgen
from fedgen.config.tree import Arm, Config
from fedgen.errors import RunError
from fedgen.export.tensorboard import EventFile
sys.path.insert(0, sys.argv[2])
from shards import round_row
fedgen.runtime.import_tensorflow()
file = EventFile(Path(sys.argv[1]), Arm(Config(), "fedavg", 0), [])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    for number in range(9):
        file.add(round_row(number))
except RunError as error:
    print(error)
file.close()
"""


def test_what_the_system_does_not_write_is_an_error_of_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(Path(__file__).parents[1])]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{tmp_path}/tensorboard/fedavg-seed0/events.out.tfevents.")
    assert "cannot be written (" in line


def test_a_resumed_run_has_every_round_once(tmp_path: Path) -> None:
    command = ["compare", *FLAGS, "--strategies=genetic-cfl,fedavg", "--rounds=1", "--out=run"]
    code, out, err = finish(start([*command, "--tensorboard", "--json"], tmp_path))
    assert (code, err) == (0, "")
    assert json.loads(out)["rounds"] == 1
    resume = ["resume", "run", "--rounds=3", "--tensorboard", "--quiet"]
    assert finish(start(resume, tmp_path)) == (0, "", "")
    written = rows(tmp_path / "run" / "rounds.csv")
    for name in ("genetic-cfl", "fedavg"):
        found = points(tmp_path / "run" / "tensorboard" / f"{name}-seed0")
        mine = [row for row in written if row["strategy"] == name]
        for tag, column in (
            ("accuracy/test", "test_accuracy"),
            ("accuracy/validation", "validation_accuracy"),
            ("loss/test", "test_loss"),
            ("loss/validation", "validation_loss"),
            ("replies/rejected", "rejected"),
            ("replies/failed", "failed"),
        ):
            wanted = [float(row[column]) for row in mine]
            assert [step for step, _ in found[tag]] == [0, 1, 2, 3]
            assert [value for _, value in found[tag]] == pytest.approx(wanted, rel=1e-6)
        trained = [float(row["train_loss"]) for row in mine if row["train_loss"]]
        assert [value for _, value in found["loss/train"]] == pytest.approx(trained, rel=1e-6)
        epochs = sum(int(row["client_epochs"]) for row in mine)
        assert found["cost/client-epochs"][-1] == (3, epochs)
