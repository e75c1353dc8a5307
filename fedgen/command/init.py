"""The command ``fedgen init``: files to start from, in a directory that has none of them."""

import json
import os
import shlex
import sys
from importlib.resources import files
from pathlib import Path

from fedgen.command import schema
from fedgen.errors import InputError
from fedgen.files import disk

CONFIG = "fedgen.toml"
WRITTEN = (CONFIG, "model.py", "strategy.py")
"""What is written as it stands in ``fedgen.command.start``; the schema comes to it."""


def write(folder: Path) -> str:
    """Write a config, a model, a strategy and the schema into a directory, all or none.

    Args:
        folder: It is made if it is not there.

    Returns:
        What was written, and the command that comes next.

    Raises:
        InputError: If one of the files is there, or there cannot be such a directory.
        RunError: If they cannot be written.
    """
    start = files("fedgen.command.start")
    content = {name: start.joinpath(name).read_bytes() for name in WRITTEN}
    content[schema.FILE] = f"{json.dumps(schema.schema(), indent=2)}\n".encode()
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"init {folder}: expected a directory, received a file or a broken link")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"init {folder}: cannot be made ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"init {folder}: cannot be written to; name a directory that can")
    if there := [name for name in content if os.path.lexists(folder / name)]:
        raise InputError(
            f"init {folder}: expected a directory without {', '.join(content)}, as nothing is "
            f"overwritten, received one with {', '.join(there)}; name another, as in "
            "`python -m fedgen init start`"
        )
    disk.create(folder, content)
    here = folder.resolve() == Path.cwd()
    go = "python"
    if not here:  # where a relative path of an interpreter leads nowhere
        go = f"cd {shlex.quote(str(folder.resolve()))} && {shlex.quote(sys.executable)}"
    return f"written: {', '.join(content)}\nnext: {go} -m fedgen compare {CONFIG}"
