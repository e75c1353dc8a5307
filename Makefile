# make test, make test-runtimes, make lint and make compare install what they need into .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: compare test test-runtimes lint bench clean

compare: $(VENV)/.run
	$(BIN)/python -m fedgen compare --rounds 10 $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

test-runtimes: $(VENV)/.dev
	$(BIN)/python -m pytest -m runtimes $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.reference_way
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.command
	$(BIN)/python -m benchmarks.runtimes

clean:
	rm -rf $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "fedgen needs Python 3.11 to 3.13: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
