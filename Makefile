# Every target makes what it needs in .venv; `make help` lists them.
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test lint coverage torture clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml setup.py | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml setup.py | $(BIN)/python
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed  ## upload, query, download and verify a real acquisition, in ./demo
	$(BIN)/imaging-db demo demo

test: $(VENV)/installed-test  ## run all tests, with PostgreSQL and two S3 servers
	$(BIN)/python -m pytest -n auto

coverage: $(VENV)/installed-test  ## run all tests and hold branch coverage above the mark
	$(BIN)/python -m pytest -n auto --cov --cov-report=
	for part in model config transfer catalog; do \
	  echo "$$part:" && $(BIN)/python -m coverage report --include="imaging_db/$$part/*" --fail-under=90 || exit 1; \
	done

lint: $(VENV)/installed-test  ## check style, types, layers and lockstep
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove the virtual environment and what the demo made
	rm -rf $(VENV) demo build *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache

torture: $(VENV)/installed-test  ## slow proofs: a 4 GB file in bounded memory, 200 kills
	IMAGING_DB_TEST_PAGES=500 $(BIN)/python -m pytest tests/integration/test_memory.py
	IMAGING_DB_TEST_KILLS=200 $(BIN)/python -m pytest tests/resume/test_kill.py
