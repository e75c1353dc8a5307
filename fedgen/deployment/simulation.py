"""What a simulation on Ray is given of this machine."""

import math
import os
from pathlib import Path

from fedgen import runtime


def federation_config(nodes: int, together: int = 0) -> str:
    """Return the options of a simulation.

    Args:
        nodes: How many there are.
        together: Clients at once on this machine; 0 for as many as there are cores.
    """
    together = together or runtime.available_cores()
    options: dict[str, float] = {"num-supernodes": nodes, "client-resources-num-cpus": 1}
    if not os.environ.get("RAY_ADDRESS"):  # an existing cluster knows what it has
        options["init-args-num-cpus"] = together  # Flower takes no part of a core for a client
        if gpus := visible_gpus():
            part = math.floor(1e4 * gpus / together) / 1e4  # Ray counts four decimals
            options["client-resources-num-gpus"] = min(1.0, part)
            options["init-args-num-gpus"] = gpus
    return " ".join(f"{name}={value:g}" for name, value in options.items())


def visible_gpus() -> int:
    """Return how many of this machine's GPUs a process may see."""
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    return min(gpus, len([name for name in visible.split(",") if name.strip()]))
