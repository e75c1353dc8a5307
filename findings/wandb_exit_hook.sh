#!/bin/sh
# What wandb leaves behind in a process whose runs are finished.
#
# Versions: Python 3.11, wandb 0.31.0; offline, no account.
# Input: three runs, each begun and finished, and each followed by `wandb.teardown()`, which is to
# end all that wandb has in the process.
#
# Seen: `sys.exit` and `sys.excepthook` are replaced and stay so, one wrapper inside the other for
# every time, so that a process that logs often ends through as many of them. And a file
# that is saved with `symlink=False` is a hard link, not a copy: what is later written into it in
# place changes what was logged, too.
#
# Prints what was seen, and fails if it has changed. Not part of the tests: it installs packages.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet wandb==0.31.0
cd "$folder"
cat > hooks.py <<'PYTHON'
import os
import sys
from pathlib import Path

import wandb

exit_before, hook_before = sys.exit, sys.excepthook
seen = []
file = Path("kept.txt")
file.write_text("as it was logged")
settings = wandb.Settings(mode="offline", silent=True, console="off", symlink=False)
for _ in range(3):
    run = wandb.init(project="finding", settings=settings)
    if not seen:
        run.save(str(file.absolute()), base_path=os.getcwd(), policy="now")
    seen.append(sys.exit)
    run.finish()
    wandb.teardown()
depth, found = 0, sys.exit
while found is not exit_before and depth < 10:
    cells = [cell.cell_contents for cell in (getattr(found, "__closure__", None) or ())]
    inner = getattr(getattr(found, "__self__", None), "_orig_exit", None)
    found = inner or next((cell for cell in cells if callable(cell)), exit_before)
    depth += 1
told = {
    "sys.exit is what it was": sys.exit is exit_before,
    "sys.excepthook is what it was": sys.excepthook is hook_before,
    "exits that differ from run to run": len({id(one) for one in seen}),
    "wrappers around sys.exit": depth,
    "links to the saved file": file.stat().st_nlink,
}
print(told)
expected = [False, False, 3, 3, 2]
raise SystemExit(0 if list(told.values()) == expected else f"changed: expected {expected}")
PYTHON
venv/bin/python hooks.py
