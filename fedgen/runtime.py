"""Process settings that must stand before TensorFlow and Flower are imported.

``import fedgen`` calls ``configure`` first of all, so every entry point has it.
Nothing here imports either library.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from fedgen.errors import InputError, RunError, one_line

# One client is one thread: its arithmetic then does not depend on how many
# clients run beside it, and small convolutions scale better over clients than
# inside one. oneDNN is on by default only on newer chips. Operations are
# deterministic anyhow where each has one thread; TensorFlow's word for it refuses
# the clock that training looks at. These decide the bytes of a run, so they are
# not left to the environment.
_NUMERICS = {
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_DETERMINISTIC_OPS": "0",
}

_JAX = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_numpy_rank_promotion": "allow",
    "jax_disable_jit": False,
}
"""What JAX would take from the environment, and what Keras and masks of dropout depend on."""

_BACKEND = "KERAS_BACKEND"

PACKAGES = ("flwr", "tensorflow", "keras", "numpy", "scikit-learn")
"""Packages whose versions decide results."""

FLAGS = ("XLA_FLAGS", "TF_XLA_FLAGS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""What XLA, on which both engines stand, and oneDNN take from the environment; it can change
results."""

_DEFAULTS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # so that several processes fit one GPU
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_LOG_LEVEL": "WARNING",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def available_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_too_late = False


def configure() -> None:
    """Set the environment that TensorFlow and Flower read when imported."""
    global _too_late
    before = dict(os.environ)
    os.environ.update(_NUMERICS)
    _too_late = not _can_still_be_set(before)
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(available_cores()))
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def _can_still_be_set(before: Mapping[str, str]) -> bool:
    """Whether what was imported earlier, in another environment, computes as ours will."""
    if "tensorflow" not in sys.modules:
        return True
    fixed = ["TF_ENABLE_ONEDNN_OPTS"]  # when imported; the threads, when TensorFlow starts
    try:
        sys.modules["tensorflow"].config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        fixed.append("TF_NUM_INTRAOP_THREADS")
    return all(before.get(name) == _NUMERICS[name] for name in fixed)


def require() -> None:
    """Refuse to compute with a TensorFlow or Keras that was imported with other settings.

    Raises:
        RunError: If one was; results would differ in the last bits. If TensorFlow was told to
            refuse operations that are not deterministic: its clock is one.
    """
    _require_backend()
    if os.environ.get(_BACKEND, "tensorflow") != "tensorflow":
        return
    if _too_late:
        settings = " ".join(f"{name}={value}" for name, value in _NUMERICS.items())
        raise RunError(
            "TensorFlow was imported before fedgen, with other settings: import fedgen first, or "
            f"export {settings} before Python (or the SuperLink, or Ray) starts"
        )
    framework = sys.modules.get("tensorflow.python.framework.config")
    if framework is not None and framework.is_op_determinism_enabled():
        raise RunError(
            "TensorFlow's op determinism is on, which refuses the clock that training looks at: "
            "leave tf.config.experimental.enable_op_determinism() out, and import fedgen before "
            "TensorFlow computes; on a CPU results are the same bytes without"
        )


def settle_keras() -> None:
    """Set what layers take from Keras' process-wide config, whatever ``keras.json`` says.

    Raises:
        InputError: If a global dtype policy was set, which no engine computes in.
    """
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    policy = keras.config.dtype_policy().name
    if policy != "float32":
        raise InputError(
            f"Keras' global dtype policy is {policy!r}: expected 'float32', as engines compute in "
            "it; call keras.config.set_dtype_policy('float32') before fedgen trains"
        )


def restart_with_huge_pages() -> None:
    """Start this process again with large allocations on huge pages, once, on Linux.

    glibc reads its tunables when a process starts. Convolutions then miss the
    TLB less and train about 4 % faster (measured by ``benchmarks/engine.py``);
    results do not change. The process id stays the same.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def limit_threads(threads: int) -> None:
    """Let TensorFlow run no more operations at once than that, if it has not started yet."""
    import tensorflow as tf

    with suppress(RuntimeError):  # once started, it keeps the number it has
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def import_tensorflow() -> None:
    """Import TensorFlow, as Keras' back end too, once a config is read that asks for it.

    The lines that its C++ part writes to stderr at any log level are only shown if that fails.
    """
    _settle_backend("tensorflow")
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def import_jax() -> None:
    """Import JAX, as Keras' back end too, once a config is read that asks for it.

    On a GPU, programs that were compiled once are kept for other processes.
    """
    _settle_backend("jax")
    on_cpu = jax_device().platform == "cpu"
    import jax

    for name, value in _JAX.items():
        jax.config.update(name, value)
    if not on_cpu and not jax.config.jax_compilation_cache_dir:
        import pooch

        folder = os.path.join(pooch.os_cache("fedgen"), "compiled")
        jax.config.update("jax_compilation_cache_dir", folder)


def jax_device() -> Any:
    """Return the device that JAX computes on; Keras' back end is left open.

    Raises:
        InputError: If JAX is told to compute on what is not there.
    """
    import jax

    if os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0":
        # Where CUDA's plugin is installed and no GPU is there, JAX logs a traceback.
        logging.getLogger("jax._src.xla_bridge").setLevel(logging.CRITICAL)
    try:
        return jax.devices()[0]
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS", "")
        why = f" ({one_line(error)})" if str(error) else ""
        raise InputError(
            f"JAX has no device for JAX_PLATFORMS={asked!r}{why}: unset it, or set it to cpu"
        ) from error


def loaded_backend() -> str | None:
    """Return the back end of the Keras that is imported, if it is."""
    return sys.modules["keras"].config.backend() if "keras" in sys.modules else None


@contextmanager
def without_tensorflow() -> Iterator[None]:
    """Hide TensorFlow, where it is not imported, from what only looks whether it is there.

    Keras looks when it writes or reads a model, on any back end, which takes seconds.
    """
    hidden = "tensorflow" not in sys.modules
    if hidden:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["tensorflow"]


def _settle_backend(name: str) -> None:
    os.environ[_BACKEND] = name
    _require_backend()


def _require_backend() -> None:
    chosen, found = os.environ.get(_BACKEND, "tensorflow"), loaded_backend()
    if found not in (None, chosen):
        raise RunError(
            f"Keras was imported with the back end {found!r}, expected {chosen!r}: a process "
            "computes with one engine; start another one, and import Keras after fedgen has read "
            f"its settings, or export {_BACKEND}={chosen}"
        )
