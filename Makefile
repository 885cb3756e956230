# `make demo` and `make test` are all a newcomer needs; both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
HOME_DIR ?= lacus-home
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: setup demo test ui bench lint clean

setup: $(BIN)/lacus

$(BIN)/lacus: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lacus needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PIP) --constraint constraints.txt --editable '.[cnn]'
	@touch $@

$(BIN)/pytest: $(BIN)/lacus
	$(PIP) --constraint constraints.txt --editable '.[cnn,dev]'
	@touch $@

demo: setup
	$(BIN)/lacus --home $(HOME_DIR) demo

test: $(BIN)/pytest
	$(BIN)/python -m pytest

ui: setup
	$(BIN)/lacus --home $(HOME_DIR) ui

bench: $(BIN)/pytest
	$(BIN)/python -m pytest tests/benchmarks -m benchmark -s -n 0

lint: $(BIN)/pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
