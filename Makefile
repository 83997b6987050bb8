# make demo: install, run the main job on the embedded model, show where the gallery is.
# make test: lint, types, layers, tests. make test-all: also browser and slow suites.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all lint install mini constraints clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: install
	$(BIN)/dreamcache demo --output demo-output

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -m 'not browser and not slow'

test-all: lint
	$(BIN)/python -m pytest

mini: install
	$(BIN)/python -m dreamcache.mini.recipe --stage all --work .mini

clean:
	rm -rf demo-output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
