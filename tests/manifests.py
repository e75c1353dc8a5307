"""The manifests for Kubernetes: their objects, pods, and what a container runs, as words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "experiments" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


OBJECTS = {f"{o['kind']} {o['metadata']['name']}": o for path in FILES for o in objects(path)}


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of the objects that make pods, and the pods' specs."""
    for name, found in OBJECTS.items():
        if "template" in found.get("spec", {}):
            yield name, found["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


CONTAINERS = {c["name"]: c for _, pod in pods() for c in containers(pod) if c["name"] != "ray"}
"""By name; the two of Ray's nodes, which share one, aside."""


def environment(container: dict[str, Any]) -> dict[str, str]:
    """What the manifest itself says, without secrets and labels."""
    return {e["name"]: e["value"] for e in container["env"] if "value" in e}
