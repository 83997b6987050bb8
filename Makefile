# make demo: install, run the main job on the embedded model, show where the gallery is.
# make test: lint, types, layers, tests. make test-all: also the browser and slow suites.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test test-slow test-again test-all chaos lint format install install-dev mini clean

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.installed

demo: install
	$(BIN)/dreamcache demo --output demo-output

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -m 'not browser and not slow'

test-slow: install-dev
	$(BIN)/python -m pytest --timeout-method=thread --verbose --durations=20 -m 'browser or slow'

# Those that failed the last time.
test-again: install-dev
	$(BIN)/python -m pytest --timeout-method=thread --verbose --last-failed --last-failed-no-failures=none

# Everything that can be killed, cut off, doubled or changed while a job runs; part of test-slow too.
chaos: install-dev
	$(BIN)/python -m pytest --timeout-method=thread --durations=0 tests/chaos

test-all: test test-slow

format: install-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The embedded model, again and from nothing, into .mini/weights: about 27 hours of two cores, each stage resumes.
# In the background, on a GPU, and into the package: recipes/mini/README.md.
mini: install-dev
	$(PIP) --editable '.[measure]'
	$(BIN)/python -m recipes.mini.make --stage all --work .mini

clean:
	rm -rf demo-output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
