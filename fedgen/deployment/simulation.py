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
    cores = runtime.available_cores()
    together = together or cores
    options: dict[str, float] = {"num-supernodes": nodes, "client-resources-num-cpus": 1}
    if not os.environ.get("RAY_ADDRESS"):  # an existing cluster knows what it has
        options["client-resources-num-cpus"] = _part(cores, together)
        options["init-args-num-cpus"] = cores
        if gpus := visible_gpus():
            options["client-resources-num-gpus"] = min(1.0, _part(gpus, together))
            options["init-args-num-gpus"] = gpus
    return " ".join(f"{name}={value:g}" for name, value in options.items())


def _part(whole: int, parts: int) -> float:
    """Return so large a part of something that there are as many; Ray counts four decimals."""
    return math.floor(1e4 * whole / parts) / 1e4


def visible_gpus() -> int:
    """Return how many of this machine's GPUs a process may see."""
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    return min(gpus, len([name for name in visible.split(",") if name.strip()]))
