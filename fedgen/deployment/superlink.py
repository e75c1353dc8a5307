"""What is asked of a SuperLink that runs already, on this machine or another.

    python -m fedgen.deployment.superlink register node-0.pub node-1.pub
    python -m fedgen.deployment.superlink run "dataset='digits' clients=2 out='/runs/first'"

``register`` makes SuperNodes known by their public keys. ``run`` submits a run, shows its log and
ends with its real status. The SuperLink is the connection ``fedgen`` of Flower's configuration,
``$FLWR_HOME/config.toml``. Both need a checkout of fedgen, which is Flower's app.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import tomli_w

from fedgen.config.toml import read_toml
from fedgen.errors import FedgenError, InputError, RunError
from fedgen.federation.run_config import OUT, RESUME, from_run_config

PROJECT = Path(__file__).parents[2]
CONNECTION = "fedgen"
"""What Flower's configuration calls the SuperLink."""

WAIT_SECONDS, LOOK_SECONDS = 300.0, 0.5
"""How long a SuperLink may take to come up, and between two looks at a run that ends."""

_UNREACHED = "Connection to the SuperLink is unavailable"
_KNOWN = "Public key already in use"


def ask(
    environment: Mapping[str, str], *arguments: str, before: Sequence[str] = ()
) -> dict[str, Any]:
    """Run Flower's command line and return what it answers.

    Args:
        environment: Of the command; it says which SuperLink is meant.
        arguments: The command, as after ``flwr``.
        before: What starts it, as ``nsenter`` does in another network.

    Raises:
        RunError: If it fails, with Flower's reason.
    """
    command = [*before, program("flwr"), *arguments, "--format", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        answer = {"error-message": done.stderr or done.stdout}
    if done.returncode or not answer.get("success"):
        raise RunError(f"flwr {arguments[0]} failed: {answer.get('error-message')}")
    return answer


def program(name: str) -> str:
    """Return the path of a program that was installed with this Python."""
    return str(Path(sys.executable).parent / name)


def register(key: Path, environment: Mapping[str, str], before: Sequence[str] = ()) -> None:
    """Make a SuperNode known by its public key; one that is known stays so.

    Raises:
        RunError: If the SuperLink does not take it.
    """
    try:
        ask(environment, "supernode", "register", str(key), CONNECTION, before=before)
    except RunError as error:
        if _KNOWN not in error.line:
            raise


def play(
    run_config: Mapping[str, Any],
    environment: Mapping[str, str],
    federation: str = "",
    app: Path = PROJECT,
    before: Sequence[str] = (),
) -> None:
    """Submit one run, show its log on stdout, and wait for its end.

    Raises:
        RunError: If it does not start, or was not completed, with Flower's reason.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overrides = folder / "run-config.toml"
        overrides.write_text(tomli_w.dumps(run_config))
        if app == PROJECT:
            app = _copied(folder / "app")
        arguments = ["run", str(app), CONNECTION, "--run-config", str(overrides)]
        if federation:
            arguments += ["--federation-config", federation]
        number = ask(environment, *arguments, before=before)["run-id"]
    # Its exit status says nothing of the run's, and its last lines may be missing.
    command = [*before, program("flwr"), "log", number, CONNECTION, "--stream"]
    subprocess.run(command, env=environment)
    while not (run := _state(number, environment, before))["status"].startswith("finished"):
        time.sleep(LOOK_SECONDS)
    if run["status"] != "finished:completed":
        raise RunError(f"{run['status']}: {run['status-details']}")


def _copied(app: Path) -> Path:
    """Return a copy of Flower's app alone.

    Flower bundles what it is given, and looks at each file of a checkout for that, a virtual
    environment's tens of thousands too.
    """
    app.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, app)
    for name in ("fedgen", "strategies"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, app / name, ignore=unwanted)
    return app


def _state(number: str, environment: Mapping[str, str], before: Sequence[str]) -> dict[str, str]:
    (run,) = ask(environment, "ls", CONNECTION, "--run-id", number, before=before)["runs"]
    return dict(run)


def await_superlink(environment: Mapping[str, str], seconds: float = WAIT_SECONDS) -> None:
    """Wait until the SuperLink answers.

    Raises:
        RunError: If it does not within these seconds, or refuses to.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            ask(environment, "supernode", "ls", CONNECTION)
            return
        except RunError as error:
            if _UNREACHED not in error.line or time.monotonic() > deadline:
                raise
            time.sleep(LOOK_SECONDS)


def read_given(text: str) -> dict[str, Any]:
    """Read a text in ``--run-config`` form: the keys that are said.

    Raises:
        InputError: If it is no such text, or there is no app to run.
    """
    from fedgen.federation.flower import parse_config_args

    # Flower's parser skips what it does not understand.
    left = re.sub(r"""\S+?=('[^']*'|"[^"]*"|\S+)""", "", text).strip()
    try:
        given: dict[str, Any] = parse_config_args([text] if text.strip() else None)
    except (click.ClickException, ValueError, OSError) as error:
        left = left or str(error)
    if left or not all(isinstance(value, str | int | float) for value in given.values()):
        raise InputError(f"run config {text!r}: expected \"key='text' key=1 ...\" ({left})")
    if not (PROJECT / "pyproject.toml").exists():
        raise InputError(
            f"run config: expected a checkout of fedgen, Flower's app, received "
            f"a package installed in {PROJECT}; `python -m fedgen compare` needs none"
        )
    for key in (OUT, RESUME):
        if not isinstance(given.get(key, ""), str):
            raise InputError(f"run config: {key}={given[key]!r}: expected a path in quotes")
    return given


def defaults() -> dict[str, Any]:
    """Return the run config of the checkout."""
    settings = read_toml(PROJECT / "pyproject.toml")["tool"]["flwr"]["app"]["config"]
    return dict(settings)


def main(arguments: list[str]) -> int:
    """Run one of the two commands and return the exit code."""
    try:
        match arguments:
            case ["register", *keys] if keys:
                for key in keys:
                    if not Path(key).is_file():
                        raise InputError(f"{key}: expected a SuperNode's public key, found no file")
                await_superlink(os.environ)
                for key in keys:
                    register(Path(key), os.environ)
            case ["run", text]:
                given = read_given(text)
                from_run_config(defaults() | given)  # paths are the SuperLink's to check
                await_superlink(os.environ)
                play(given, os.environ)
            case _:
                raise InputError(f"expected register KEY.pub ..., or run RUN-CONFIG: {arguments}")
    except FedgenError as error:
        print(f"fedgen: {error.line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted; the run goes on: flwr ls {CONNECTION}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
