# make test, make test-runtimes, make test-older, make soak, make lint, make docs, make demo and make compare install what they need into .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES := $(shell nproc 2>/dev/null || echo 2)

# Names the twenty slowest tests.
SLOWEST := --durations 20 --durations-min 1

# The release of Flower before the newest one.
OLDER := 1.41.0

.PHONY: demo compare test test-runtimes test-older soak lint docs bench clean

# Half a minute, no download; at rates that suit the task, so that no strategy sits at chance.
demo: $(VENV)/.run
	$(BIN)/python -m fedgen compare --dataset digits --model mlp --clients 20 --rounds 10 --seeds 3 \
		--strategies "genetic-cfl@rates=[1e-3,1e-2],fedavg@1e-2,fedprox@1e-2,scaffold,tournament" $(ARGS)

compare: $(VENV)/.run
	$(BIN)/python -m fedgen compare --rounds 10 $(ARGS)

# On every core, and one more, as some wait; what a file's tests share is made once. A process has
# one engine: what holds of every engine is tested once more on JAX, with what is its own. What JAX
# compiles is kept beside it, as most programs are asked for by more than one process.
test test-runtimes: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(VENV)/compiled
test test-runtimes: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0.1
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $$(( $(CORES) + 1 )) --dist loadfile $(SLOWEST) $(ARGS)
	FEDGEN_TEST_ENGINE=jax $(BIN)/python -m pytest -n $(CORES) --dist loadfile $(SLOWEST) $(ARGS) tests/engine \
		tests/test_pinned.py tests/comparison/test_any_data.py tests/comparison/test_deadline.py \
		tests/comparison/test_resume.py

test-runtimes: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(CORES) --maxschedchunk 1 $(SLOWEST) -m runtimes $(shell grep -rl mark.runtimes tests) $(ARGS)

# What is used of Flower, and a simulation's bytes, on the older one, which comes before the newest one on the path.
test-older: export PYTHONPATH = $(CURDIR)/$(VENV)/older
test-older: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/older flwr==$(OLDER)
	$(BIN)/python -c 'from importlib.metadata import version; assert version("flwr") == "$(OLDER)"'
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile $(ARGS) tests/federation/test_flower.py
	$(BIN)/python -m pytest -m runtimes -k test_ray_ends_with_the_same_bytes $(ARGS) tests/test_runtimes.py

# Hours: 200 runs and 50 parts of Flower's runtimes killed at random moments, 10,000 examples for each fuzzed input, 2,000 rounds, minutes without a network.
soak: $(VENV)/.dev
	FEDGEN_KILLS=200 $(BIN)/python -m pytest -s -k killed_at_random tests/comparison/test_resume.py
	FEDGEN_PARTS=50 $(BIN)/python -m pytest -s -m runtimes -k killed_at_random tests/test_kills.py
	$(BIN)/python -m pytest -m fuzz --hypothesis-profile=soak
	$(BIN)/python -m pytest -s -m soak

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The banner that is left out is about the theme's last day, not about a page.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.reference_way
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.command
	$(BIN)/python -m benchmarks.runtimes
	$(BIN)/python -m benchmarks.network
	$(BIN)/python -m benchmarks.attacks
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.study
	$(BIN)/python -m benchmarks.small_clients
	$(BIN)/python -m benchmarks.rounds
	$(BIN)/python -m benchmarks.gpu
	$(BIN)/python -m benchmarks.coverage
	$(BIN)/python -m benchmarks.parquet

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
