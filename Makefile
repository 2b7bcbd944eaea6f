# Every target makes what it needs in .venv; `make help` lists them.
PYTHON ?= python3
VENV := .venv
READERS := .venv-readers
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
KERNEL := $(wildcard imaging_db/codecs/csrc/*)
FUZZ_SECONDS ?= 300
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test readers lint coverage torture broken damage memory fuzz bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml setup.py $(KERNEL) | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml setup.py $(KERNEL) | $(BIN)/python
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-bench: pyproject.toml setup.py $(KERNEL) | $(BIN)/python
	$(PIP) install --editable '.[bench]'
	@touch $@ $(VENV)/installed-test $(VENV)/installed

$(READERS)/installed: tests/readers.txt
	$(PYTHON) -m venv $(READERS)
	$(READERS)/$(notdir $(BIN))/python -m pip --disable-pip-version-check --quiet install -r tests/readers.txt
	@touch $@

demo: $(VENV)/installed  ## upload, query, download and verify a real acquisition, in ./demo
	$(BIN)/imaging-db demo demo

readers: $(READERS)/installed  ## install other people's readers of OME-Zarr and OME-TIFF, for the tests of exports

test: $(VENV)/installed-test $(READERS)/installed  ## run all tests but the torture, with PostgreSQL and two S3 servers
	$(BIN)/python -m pytest -n $(WORKERS) --ignore=tests/torture

coverage: $(VENV)/installed-test $(READERS)/installed  ## run all tests and hold branch coverage above the mark
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=
	for part in model config transfer catalog; do \
	  echo "$$part:" && $(BIN)/python -m coverage report --include="imaging_db/$$part/*" --fail-under=90 || exit 1; \
	done

lint: $(VENV)/installed-test  ## check style, types, layers and lockstep
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove the virtual environment and what the demo made
	rm -rf $(VENV) $(READERS) demo build *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache

# Everything that a mark names as a row of the fault matrix, with many more faults than `make test` injects, and all
# combinations of which `make test` tries every second or fourth.
torture: $(VENV)/installed-test  ## inject thousands of faults, twenty minutes or more; writes docs/reliability.md
	$(BIN)/python -m tests.torture.run

broken: $(VENV)/installed-test  ## break the program on purpose in many ways, and see each noticed
	rm -f docs/reliability/broken.jsonl
	$(BIN)/python -m tests.broken.run --out docs/reliability/broken.jsonl
	$(BIN)/python -m tests.support.reliability_page

damage: $(VENV)/installed-test  ## cut and flip the sample files at thousands of places
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.reliability.damage --out docs/reliability/damage.json
	$(BIN)/python -m tests.support.reliability_page

memory: $(VENV)/installed-test  ## a 4 GB file and 20 000 frames in bounded memory
	IMAGING_DB_TEST_FRAMES=20000 IMAGING_DB_TEST_SIDE=1024 $(BIN)/python -m pytest tests/integration/test_memory.py -k hundred
	IMAGING_DB_TEST_PAGES=500 $(BIN)/python -m pytest tests/integration/test_memory.py

# The kernel built apart, so that every read and write beside its buffers and every undefined step ends the run.
fuzz: $(VENV)/installed-test  ## random frames into the kernel under sanitizers, hostile input into everything that reads
	mkdir -p $(VENV)/fuzz
	$(CC) -std=c11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fPIC -shared \
	  -I$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))') \
	  imaging_db/codecs/csrc/*.c -o $(VENV)/fuzz/_kernel.so
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	  $(BIN)/python -m tests.fuzz.kernel --seconds $(FUZZ_SECONDS) --module $(VENV)/fuzz/_kernel.so
	$(BIN)/python -m tests.fuzz.inputs --seconds $(FUZZ_SECONDS)

# BENCH holds options, such as BENCH=--quick or BENCH='--only encoder'; BENCH_DIR keeps acquisitions between runs.
bench: $(VENV)/installed-bench  ## measure ours beside its peers, half an hour; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks $(BENCH)
