"""Arms on a real Ray cluster of this machine: the same bytes, seen directory or not."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import FLAGS, comparable, finish, play, processes_told, start, wait_for_file

from fedgen.comparison import cluster
from fedgen.errors import InputError
from fedgen.runs.run import open_run

RAY = Path(sys.executable).parent / "ray"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that was started for these tests."""
    port = "6399"
    command = [str(RAY), "start", "--head", f"--port={port}", "--num-cpus=2", "--node-ip-address"]
    folder = tmp_path_factory.mktemp("ray")
    extra = ["127.0.0.1", "--include-dashboard=false", f"--temp-dir=/tmp/ray-{folder.name[-8:]}"]
    subprocess.run([*command, *extra], check=True, capture_output=True)
    children = processes_told(port)
    yield f"127.0.0.1:{port}"
    for process in children:
        for child in [*process.children(recursive=True), process]:
            child.kill()


@pytest.mark.runtimes
def test_a_cluster_leaves_the_bytes_of_a_run_without_one(head: str, tmp_path: Path) -> None:
    expected = play(tmp_path / "sequential", run={"rounds": 2, "seeds": 2}).path
    flags = [*FLAGS, "--rounds=2", "--seeds=2", "--out=run", f"--ray={head}"]
    code, out, err = finish(start(["compare", *flags], tmp_path))
    assert (code, err) == (0, "") and "4 arms on Ray" in out
    assert comparable(tmp_path / "run") == comparable(expected)
    assert (tmp_path / "run" / "evaluation.csv").read_bytes() == (
        expected / "evaluation.csv"
    ).read_bytes()


@pytest.mark.runtimes
def test_a_task_whose_process_died_goes_on_from_its_checkpoint(head: str, tmp_path: Path) -> None:
    plan = {"rounds": 40, "strategies": ["genetic-cfl"]}
    expected = play(tmp_path / "sequential", run=plan).path
    flags = [*FLAGS, "--rounds=40", "--strategies=genetic-cfl", "--out=run", f"--ray={head}"]
    process = start(["compare", *flags], tmp_path)
    shard = tmp_path / "run" / "shards" / "genetic-cfl-seed0"
    wait_for_file(shard / "checkpoint-000003.json", process)
    (worker,) = processes_told("ray::play_where_seen")
    worker.kill()
    worker.wait()
    reached = max(int(path.stem[-6:]) for path in shard.glob("checkpoint-*.json"))
    assert 3 <= reached < 40
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert comparable(tmp_path / "run") == comparable(expected)


def test_a_node_that_does_not_see_the_directory_sends_its_shard_back(tmp_path: Path) -> None:
    expected = play(tmp_path / "run", run={"rounds": 2, "strategies": ["fedavg"]}).path
    config = (expected / "config.toml").read_text()
    kind, _, files = cluster.play_where_seen(str(tmp_path / "unseen"), config, "fedavg", 0, 1)
    assert kind == "done"
    assert "models/fedavg-seed0.keras" in files and len(files) > 5
    shutil.rmtree(expected / "shards")
    cluster._keep(expected, files)
    assert open_run(expected).arms[0].name == "fedavg-seed0"
    code, _, err = finish(start(["resume", "run", "--rounds=3", "--quiet"], tmp_path))
    assert (code, err) == (0, "")
    longer = play(tmp_path / "longer", run={"rounds": 3, "strategies": ["fedavg"]}).path
    assert comparable(expected) == comparable(longer)


def test_nothing_at_the_address_is_one_line(tmp_path: Path) -> None:
    flags = [*FLAGS, "--rounds=1", "--out=run", "--ray=127.0.0.1:9"]
    code, out, err = finish(start(["compare", *flags], tmp_path))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("fedgen: --ray 127.0.0.1:9: no Ray cluster answers there")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:port"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(InputError, match="expected HOST:PORT of a cluster's head, or auto"):
        cluster.connect(address)
