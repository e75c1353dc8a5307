"""``report.html``."""

from pathlib import Path

from fedgen.compare import Run


def write(run: Run) -> Path:
    return run.path / "report.html"
