"""The files that go along with a run into other tools, made of its finished rounds."""

import json
from pathlib import Path

from fedgen.config.toml import to_toml
from fedgen.report import pages
from fedgen.report.results import Results
from fedgen.runs.shard import written


def write(results: Results, folder: Path) -> None:
    """Write settings, summary, rows and report into a directory.

    They are not those of the run directory, which are older than the rounds of a killed run.
    """
    files = {
        "config.toml": to_toml(results.run.tree()),
        "summary.json": f"{json.dumps(results.summary, indent=2)}\n",
        "rounds.csv": written(results.run.config, "rounds.csv", results.rounds),
        "clients.csv": written(results.run.config, "clients.csv", results.clients),
        "report.html": pages.one(results),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
