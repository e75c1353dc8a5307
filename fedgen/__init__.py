"""fedgen: federated learning with hyperparameters that evolve, compared at equal cost.

``compare`` and ``load_run`` are imported when they are asked for, TensorFlow when something is
trained.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fedgen import runtime

if TYPE_CHECKING:
    from fedgen.api import compare, load_run

__all__ = ["__version__", "compare", "load_run"]

runtime.configure()

try:
    __version__ = version("fedgen")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in ("compare", "load_run"):
        from fedgen import api

        return getattr(api, name)
    raise AttributeError(f"module 'fedgen' has no attribute {name!r}")
