"""The manifests and scripts for clusters, held against the tools that read them and the code."""

import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from manifests import CONTAINERS, FILES, OBJECTS, containers, environment, objects, pods
from typer.main import get_command

from fedgen.cli import app
from fedgen.deployment import superlink
from fedgen.federation.run_config import from_run_config

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(ROOT.rglob("experiments/*.sh"))
SLURM = (ROOT / "experiments" / "slurm.sh").read_text()
SHELLCHECK = shutil.which("shellcheck")
KUBERNETES = ["1.28", kubernetes_validate.latest_version()]
"""The oldest that labels a pod with its ordinal, and the newest that is known here."""


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_object_is_one_of_kubernetes_without_unknown_fields(path: Path, version: str) -> None:
    for found in objects(path):
        kubernetes_validate.validate(found, version, strict=True)


def test_an_unknown_field_is_seen() -> None:
    wrong = {**OBJECTS["Service superlink"], "sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="sepc"):
        kubernetes_validate.validate(wrong, KUBERNETES[1], strict=True)


@pytest.mark.skipif(SHELLCHECK is None, reason="Debian's package shellcheck is not installed")
def test_the_scripts_have_no_fault_that_shellcheck_finds() -> None:
    command = [str(SHELLCHECK), "--external-sources", "--source-path=SCRIPTDIR", *SCRIPTS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@cache
def flags(*program: str) -> set[str]:
    """Long options in a program's help."""
    path = Path(sys.executable).parent / program[0]
    done = subprocess.run([path, *program[1:], "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {*re.findall(r"--[a-z][\w-]+", done.stdout)}


def used(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def check_compare(words: list[str]) -> None:
    command: Any = get_command(app).commands["compare"]  # type: ignore[attr-defined]
    given = command.make_context("compare", [*words]).params
    assert given["ray"] == "ray-head:6379" and given["out"]


def test_the_programs_know_the_flags_that_the_containers_give_them() -> None:
    for _, pod in pods():
        for container in containers(pod):
            words = container["command"]
            if words[:2] == ["sh", "-ec"]:
                for line in words[2].splitlines():
                    check([word for word in shlex.split(line) if word != "exec"])
            else:
                check(words)


def check(words: list[str]) -> None:
    """Fail unless a command is one that is there, and takes its words."""
    match words:
        case ["python", "-m", "fedgen", "compare", *rest]:
            check_compare(rest)
        case ["python", "-m", "fedgen.deployment.superlink", "run", text]:
            from_run_config(superlink.defaults() | superlink.read_given(text))
        case ["python", "-m", "fedgen.deployment.superlink", "register", *keys]:
            assert keys == ["/public/*.pub"]
        case ["ray", "start", *rest]:
            assert used(rest) <= flags("ray", "start")
        case [program, *rest]:
            assert program.startswith("flower-super") and used(rest) <= flags(program)


def test_slurm_s_script_gives_flags_that_are_known() -> None:
    joined = SLURM.replace("\\\n", " ")
    for program in ("flower-superlink", "flower-supernode", "ray start"):
        calls = re.findall(rf"(?:exec|in_background) {program} (.*)", joined)
        assert calls, program
        for call in calls:
            assert {*re.findall(r"--[a-z][\w-]+", call)} <= flags(*program.split()), call


def test_partitions_are_as_many_as_pods_and_clients() -> None:
    (config,) = [word for word in CONTAINERS["supernode"]["command"] if "num-partitions" in word]
    given = superlink.read_given(CONTAINERS["run"]["command"][-1])
    replicas = OBJECTS["StatefulSet supernodes"]["spec"]["replicas"]
    assert config == f"--node-config=partition-id=$(PARTITION) num-partitions={replicas}"
    assert given["clients"] == replicas


def test_everybody_calls_the_superlink_where_it_listens() -> None:
    (port,) = OBJECTS["Service superlink"]["spec"]["ports"]
    assert f"--port={port['port']}" in CONTAINERS["superlink"]["command"]
    address = f"superlink:{port['port']}"
    assert f"--superlink={address}" in CONTAINERS["supernode"]["command"]
    assert f"--runtime-api-address={address}" in CONTAINERS["serverapp"]["command"]
    assert (
        f'[superlink.{superlink.CONNECTION}]\naddress = "{address}"'
        in (OBJECTS["ConfigMap flower"]["data"]["config.toml"])
    )
    (named,) = OBJECTS["Deployment superlink"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert (port["targetPort"], port["port"]) == (named["name"], named["containerPort"])


def test_a_selector_selects_the_pods_of_its_object() -> None:
    for name, found in OBJECTS.items():
        if "template" in found.get("spec", {}) and "selector" in found["spec"]:
            labels = found["spec"]["template"]["metadata"]["labels"]
            assert found["spec"]["selector"]["matchLabels"].items() <= labels.items(), name
    for kind, service in OBJECTS.items():
        if kind.startswith("Service "):
            labels = [
                found["spec"]["template"]["metadata"]["labels"]
                for found in OBJECTS.values()
                if "template" in found.get("spec", {})
            ]
            chosen = [
                some for some in labels if service["spec"]["selector"].items() <= some.items()
            ]
            assert len(chosen) == 1, kind


def test_pods_have_no_right_that_they_do_not_need() -> None:
    for name, pod in pods():
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False, name
        assert (
            pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
        )
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_containers_have_the_environment_that_fedgen_demands() -> None:
    for _, pod in pods():
        for container in containers(pod):
            told = environment(container)
            assert (told["TF_ENABLE_ONEDNN_OPTS"], told["KERAS_BACKEND"]) == ("1", "tensorflow")
            writable = {
                mount["mountPath"]
                for mount in container["volumeMounts"]
                if not mount.get("readOnly")
            }
            assert told["HOME"] in writable
            if any("flower" in word or "superlink" in word for word in container["command"]):
                assert told["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
                assert told["FLWR_TELEMETRY_ENABLED"] == "0"
                assert any(Path(told["FLWR_HOME"]).is_relative_to(path) for path in writable)


def test_the_image_is_this_version_of_fedgen() -> None:
    project = superlink.read_toml(ROOT / "pyproject.toml")["project"]
    assert {c["image"] for _, pod in pods() for c in containers(pod)} == {
        f"fedgen:{project['version']}"
    }
