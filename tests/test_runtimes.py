"""The launchers and Flower's own runtimes, for real; ``make test-runtimes`` runs these.

The longest tests come first, so that several at once end together.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import runs
from launched import ROOT, SMALL, comparable, finish, home, listeners, processes, script

from fedgen import launch
from fedgen.errors import RunError
from fedgen.launch import Runtime

pytest.importorskip("ray", reason="needs the extra `simulation`, which installs Ray")
pytestmark = [pytest.mark.runtimes, pytest.mark.usefixtures("home")]
__all__ = ["home"]  # a fixture

JOB = "dataset='digits' rounds=2 clients=6 fraction=0.5 strategy='genetic-cfl'"


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    out = tmp_path_factory.mktemp("here") / "run"
    flags = "--dataset=digits --rounds=2 --clients=6 --fraction=0.5 --quiet".split()
    flags.append("--strategies=genetic-cfl")
    subprocess.run([sys.executable, "-m", "fedgen", "compare", *flags, f"--out={out}"], check=True)
    return comparable(out)


def check_run_directory(run: Path) -> None:
    assert json.loads((run / "summary.json").read_text())["dataset"] == "digits"
    assert (run / "report.html").stat().st_size > 100_000
    assert list((run / "models").glob("*.keras"))


def test_a_killed_supernode_costs_one_client_and_is_used_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    shard = out / "shards" / "fedavg-seed0"
    run_config = launch.read_run_config(f"{SMALL.format(rounds=5)} out='{out}'")
    done: list[None] = []

    def wait_for(round_: int) -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                if len(runs.rows(shard / "rounds.csv")) > round_:
                    return
            assert not done, "the run ended early"
            time.sleep(0.1)
        raise AssertionError(f"round {round_} was not reached")

    with Runtime(simulation=False) as flower:
        for partition in range(3):
            flower.add_node(partition, 3)
        player = threading.Thread(target=lambda: done.append(flower.run(run_config)))
        player.start()
        wait_for(1)
        time.sleep(2)  # into the next round
        flower.nodes[1].send_signal(signal.SIGKILL)
        wait_for(2)
        flower.add_node(1, 3)
        player.join(300)
    assert done == [None], "the run failed"
    rows = runs.rows(shard / "rounds.csv")
    failed = [int(row["failed"]) for row in rows]
    assert failed[:2] == [0, 0] and failed[2] == 1 and failed[-1] == 0, failed
    assert max(failed) == 1 and {row["rejected"] for row in rows} == {"0"}
    lost = [row for row in runs.rows(shard / "clients.csv") if row["status"] != "ok"]
    assert {row["client"] for row in lost} == {"1"} and len(lost) == sum(failed)


def test_a_deployment_ends_with_the_same_bytes_and_leaves_no_process(
    tmp_path: Path, in_process: dict[str, object]
) -> None:
    # Six nodes answer at once, a process each: a slow machine takes longer than people wait.
    patient = f"{JOB} out='{tmp_path}/run' set='cohort.deadline=300'"
    code, output = finish(script("deploy_local", patient))
    assert code == 0, output
    assert comparable(tmp_path / "run") == in_process
    check_run_directory(tmp_path / "run")
    assert processes(tmp_path) == []


def test_ray_ends_with_the_same_bytes_and_leaves_no_process(
    tmp_path: Path, home: Path, in_process: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = finish(script("simulate", f"{JOB} out='run'"))
    assert code == 0, output
    assert comparable(tmp_path / "run") == in_process
    check_run_directory(tmp_path / "run")
    assert f"report: {tmp_path / 'run' / 'report.html'}" in output
    assert processes(tmp_path) == []
    assert list(home.glob("fedgen-*")) == []


def test_an_existing_ray_cluster_is_used_and_left_alone(tmp_path: Path, home: Path) -> None:
    port = launch.free_port()
    ray = Path(sys.executable).parent / "ray"
    session = f"--temp-dir={home}/ray"
    common = ["--num-cpus=1", "--disable-usage-stats"]
    environment = os.environ | {"RAY_worker_niceness": "0"}
    for role in (
        ["--head", f"--port={port}", "--include-dashboard=false", session],
        [f"--address=127.0.0.1:{port}"],
    ):
        started = subprocess.run(
            [ray, "start", "--node-ip-address=127.0.0.1", *role, *common],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert started.returncode == 0, started.stdout + started.stderr
    before = {p.pid for p in processes(tmp_path) if p.name() == "raylet"}
    assert len(before) == 2
    text = SMALL.format(rounds=1) + f" out='{tmp_path}/run'"
    code, output = finish(script("simulate", text, RAY_ADDRESS=f"127.0.0.1:{port}"))
    assert code == 0, output
    assert len(list((home / "ray").glob("session_2*"))) == 1, "started a cluster of its own"
    assert len(runs.rows(tmp_path / "run" / "clients.csv")) == 3
    assert {p.pid for p in processes(tmp_path) if p.name() == "raylet"} == before


def test_faults_aggregation_and_noise_are_the_same_on_ray_by_jax(tmp_path: Path) -> None:
    kinds = "nan inf wrong_rate duplicate late".split()
    settings = [f"faults.{kind}=1" for kind in kinds] + ["faults.sign_flip=2", "privacy.kind=local"]
    settings.append("messages.compression=int8")
    common = "dataset='digits' model='mlp' rounds=2 clients=12 fraction=1.0 strategy='fedavg'"
    common += " engine='jax'"
    code, output = finish(
        script("simulate", f"{common} out='{tmp_path}/ray' set='{' '.join(settings)}'")
    )
    assert code == 0, output
    flags = "--dataset=digits --model=mlp --rounds=2 --clients=12 --fraction=1".split()
    flags += ["--strategies=fedavg", "--engine=jax", "--quiet", f"--out={tmp_path}/here"]
    flags += [f"--set={setting}" for setting in settings]
    subprocess.run([sys.executable, "-m", "fedgen", "compare", *flags], check=True)
    ray, here = comparable(tmp_path / "ray"), comparable(tmp_path / "here")
    assert ray == here
    for row in here["rounds.csv"][1:]:
        assert (row["rejected"], row["failed"]) == ("4", "1")


def test_a_deadline_stops_clients_on_ray_inside_the_compiled_loop(tmp_path: Path) -> None:
    """Each would train for minutes: the whole run would take longer than this test waits."""
    text = f"{SMALL.format(rounds=1)} out='{tmp_path}/run'"
    code, output = finish(
        script("simulate", f"{text} set='training.deadline=0.5 training.local_epochs=5000'")
    )
    assert code == 3, output
    last = output.splitlines()[-1]
    assert last.startswith("fedgen: finished:failed: ") and "Traceback" not in output
    assert "Reasons: failed: stopped at its deadline of 0.5 s" in last
    assert processes(tmp_path) == []


def test_too_few_nodes_name_the_flag_that_is_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_config = launch.read_run_config(f"{SMALL.format(rounds=1)} out='{tmp_path}/run'")
    with Runtime(simulation=True) as flower:
        with pytest.raises(RunError) as error:
            flower.run(run_config)  # without --federation-config Flower makes two nodes
    assert '--federation-config "num-supernodes=3"' in str(error.value)
    assert "the federation has 2 nodes, the run has 3 clients" in str(error.value)
    assert "Traceback" not in capfd.readouterr().out


def test_tensorflow_with_other_settings_is_refused_with_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_config = launch.read_run_config(f"{SMALL.format(rounds=1)} out='{tmp_path}/run'")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    with Runtime(simulation=True) as flower:
        with pytest.raises(RunError) as error:
            flower.run(run_config, launch.federation_config(3))
    assert "TensorFlow was imported before fedgen" in str(error.value)
    assert "TF_ENABLE_ONEDNN_OPTS=1" in str(error.value)
    assert "Traceback" not in capfd.readouterr().out
    assert not (tmp_path / "run").exists()


def test_an_interrupted_simulation_leaves_no_process(tmp_path: Path) -> None:
    process = script("simulate", f"{SMALL.format(rounds=500)} out='{tmp_path}/run'")
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[:1] == ["2"]:
            break
    addresses = {address.ip.removeprefix("::ffff:") for address in listeners(tmp_path)}
    assert addresses <= {"127.0.0.1", "::1"}
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    assert processes(tmp_path) == []
    assert len(runs.rows(tmp_path / "run" / "shards" / "fedavg-seed0" / "rounds.csv")) >= 3


def test_a_killed_simulation_goes_on_there_and_in_process_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    job = SMALL.format(rounds=30)
    flags = "--dataset=digits --model=mlp --rounds=30 --clients=3 --fraction=1.0 --quiet".split()
    command = [sys.executable, "-m", "fedgen"]
    whole, run, other = (tmp_path / name for name in ("whole", "run", "other"))
    told = [*flags, "--strategies=fedavg", f"--out={whole}"]
    subprocess.run([*command, "compare", *told], check=True)
    process = script("simulate", f"{job} out='{run}'")
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[:1] == ["3"]:
            break
    for found in processes(tmp_path):  # the ServerApp, Flower's own and Ray's, all at once
        with contextlib.suppress(psutil.NoSuchProcess):
            found.kill()
    finish(process)
    assert 3 <= len(runs.rows(run / "shards" / "fedavg-seed0" / "rounds.csv")) < 31
    shutil.copytree(run, other)
    code, output = finish(script("simulate", f"{job.replace('fedavg', 'fedprox')} resume='{run}'"))
    assert code != 0 and "clients would play another run: run.strategies was" in output
    code, output = finish(script("simulate", f"{job} resume='{run}'"))
    assert code == 0, output
    subprocess.run([*command, "resume", str(other), "--quiet"], check=True)
    assert comparable(run) == comparable(other) == comparable(whole)
    # And the other way round: a run of this machine's goes on with more rounds on Ray.
    code, output = finish(script("simulate", f"resume='{whole}' rounds=32"))
    assert code == 0, output
    subprocess.run([*command, "resume", str(other), "--rounds=32", "--quiet"], check=True)
    assert comparable(whole) == comparable(other)


def test_one_that_is_ended_while_it_starts_leaves_none_either(tmp_path: Path) -> None:
    process = script("simulate", f"{SMALL.format(rounds=500)} out='{tmp_path}/run'")
    deadline = time.monotonic() + 120
    while not processes(tmp_path, "flower-superlink"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 130, output
    assert processes(tmp_path) == [] and not (tmp_path / "run").exists()


def test_a_worker_builds_loads_and_traces_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    project = (ROOT / "pyproject.toml").read_text()
    (app / "pyproject.toml").write_text(
        project.replace("fedgen.federation.client_app:app", "counting:app").replace(
            'readme = "README.md"\n', ""
        )
    )
    (app / "counting.py").write_text(COUNTING)
    monkeypatch.setenv("COUNTS", str(tmp_path / "counts"))
    run_config = launch.read_run_config(f"{SMALL.format(rounds=4)} out='{tmp_path}/run'")
    with Runtime(simulation=True) as flower:
        flower.run(run_config, launch.federation_config(3), app)
    counts = [line.split() for line in (tmp_path / "counts").read_text().splitlines()]
    assert len(counts) == 4 * 3
    assert len({pid for pid, *_ in counts}) <= len(os.sched_getaffinity(0))
    # Per message of every worker: engines built, traces, data sets loaded, slots, threads.
    assert {tuple(rest) for _, *rest in counts} == {("1", "2", "1", "1", "1")}


COUNTING = '''
"""fedgen's ClientApp, and a mod that writes down what its worker has built so far."""

import os

from fedgen.data import datasets
from fedgen.engine.tensorflow.engine import Engine
from fedgen.federation import client_app, resources

built = []
build = Engine.__init__
Engine.__init__ = lambda self, *a, **k: (built.append(self), build(self, *a, **k))[1]


def count(message, context, call_next):
    import tensorflow as tf

    reply = call_next(message, context)
    if message.metadata.message_type == "train":
        loaded = datasets._read.cache_info().misses
        engine = built[-1]
        threads = tf.config.threading.get_inter_op_parallelism_threads()
        line = (os.getpid(), len(built), engine.traces, loaded, engine.workers, threads)
        with open(os.environ["COUNTS"], "a") as stream:
            stream.write(" ".join(map(str, line)) + "\\n")
    return reply


app = client_app.made(lambda context: resources.of(context.run_config), count)
'''
