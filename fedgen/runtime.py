"""Process settings that must stand before TensorFlow and Flower are imported.

``import fedgen`` calls ``configure`` first of all, so every entry point has it.
Nothing here imports either library.
"""

import os

# One client is one thread: its arithmetic then does not depend on how many
# clients run beside it, and small convolutions scale better over clients than
# inside one. oneDNN is on by default only on newer chips. These decide the
# bytes of a run, so they are not left to the environment.
_NUMERICS = {
    "KERAS_BACKEND": "tensorflow",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}

_DEFAULTS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_LOG_LEVEL": "WARNING",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def available_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure() -> None:
    """Set the environment that TensorFlow, Keras and Flower read when imported."""
    os.environ.update(_NUMERICS)
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(available_cores()))
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
