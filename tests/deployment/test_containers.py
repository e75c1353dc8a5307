"""What the manifests' containers run, as processes here that have no other environment."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import runs
from manifests import CONTAINERS, OBJECTS, environment

from fedgen.deployment import credentials
from fedgen.launch import free_port

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


class Pods:
    """A folder that stands for what pods mount, and their containers started there.

    Args:
        root: Holds ``server``, ``public``, ``nodes``, ``flower`` and ``runs``; each container's
            ``/tmp`` is made in it.
        port: Where this SuperLink listens, in place of ``superlink:8000``.
    """

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port = root, port

    def here(self, word: str, name: str = "") -> str:
        """Return a word of a container with this machine's paths and addresses."""
        word = word.replace("superlink:8000", f"127.0.0.1:{self.port}")
        word = word.replace("0.0.0.0", "127.0.0.1").replace("--port=8000", f"--port={self.port}")
        word = re.sub(r"(?<![\w/])/tmp\b", f"/{name}.tmp", word).replace("=/key", "=/nodes/node-0")
        places = rf"(server|public|nodes|flower|runs|{name}\.tmp)"
        return re.sub(rf"(?<![\w/])/{places}\b", f"{self.root}/\\1", word)

    def process(self, name: str, *changes: tuple[str, str]) -> subprocess.Popen[str]:
        """Start a container, with changes to its last word."""
        container = CONTAINERS[name]
        words = [self.here(word, name) for word in container["command"]]
        for old, new in changes:
            assert old in words[-1]
            words[-1] = words[-1].replace(old, new)
        told = {key: self.here(value, name) for key, value in environment(container).items()}
        (self.root / f"{name}.tmp").mkdir(exist_ok=True)
        return subprocess.Popen(
            words,
            env={**told, "PATH": f"{PROGRAMS}{os.pathsep}/usr/bin:/bin"},
            cwd=self.here(container.get("workingDir", "/runs")).replace("/src", str(CHECKOUT)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, name: str, *changes: tuple[str, str]) -> tuple[int, str, str]:
        """Run a container of the Job to its end."""
        process = self.process(name, *changes)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    @contextmanager
    def alive(self, name: str, *changes: tuple[str, str]) -> Iterator[None]:
        """Keep a container that is stopped at the end, as Kubernetes stops it."""
        process = self.process(name, *changes)
        threading.Thread(target=process.communicate, daemon=True).start()
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()


@pytest.mark.runtimes
def test_the_containers_play_a_run_and_the_job_ends_as_it_does(tmp_path: Path) -> None:
    pods = Pods(tmp_path / "pods", free_port())
    credentials.write_all(pods.root, "superlink", nodes=1)
    for name in ("runs", "flower"):
        (pods.root / name).mkdir()
    config = pods.here(OBJECTS["ConfigMap flower"]["data"]["config.toml"])
    (pods.root / "flower" / "config.toml").write_text(config)
    small = (
        "clients=10 rounds=10",
        "clients=1 rounds=1 fraction=1.0 model='mlp' strategy='fedavg'",
    )
    one = ("$(PARTITION) num-partitions=10", "0 num-partitions=1")
    with pods.alive("superlink"), pods.alive("serverapp"):
        for _ in range(2):  # a second Job finds the node registered
            assert pods.finish("register") == (0, "", "")
        with pods.alive("supernode", one):
            code, out, err = pods.finish("run", small)
            assert (code, err) == (0, "") and f"{pods.root}/runs/first/report.html" in out
            assert len(runs.rows(pods.root / "runs" / "first" / "clients.csv")) == 1
            code, _, err = pods.finish("run", small)  # the run directory is not free any more
    assert code == 3 and err.count("\n") == 1
    assert err.startswith("fedgen: finished:failed: ") and "not an empty directory" in err
