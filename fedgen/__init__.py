"""fedgen: federated learning with hyperparameters that evolve, compared at equal cost."""

from importlib.metadata import PackageNotFoundError, version

from fedgen import runtime

runtime.configure()

try:
    __version__ = version("fedgen")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
