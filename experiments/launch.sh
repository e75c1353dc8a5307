# shellcheck shell=bash
# Sourced by its neighbours: fedgen.launch of this checkout, with the active Python, or
# the one that `make` installed.
checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python}"
if [ -z "${PYTHON:-}${VIRTUAL_ENV:-}" ] && [ -x "$checkout/.venv/bin/python" ]; then
    python="$checkout/.venv/bin/python"
fi
export PYTHONPATH="$checkout${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m fedgen.launch "$@"
