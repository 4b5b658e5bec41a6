# make demo and make test set up .venv by themselves. Another Python: make test PYTHON=/path/to/python3.11
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
ARCHIVE ?= ../shared/data/qm9_xtb_test.npz
BENCHMARK_OPTIONS ?=

# installed once for each content of these files, in whatever checkout; the second stamp adds the tools of developers and what learned potentials need
KEY := $(shell cat setup.py devtools/constraints.txt pyproject.toml | cksum | cut -d ' ' -f 1)
RUNTIME := $(VENV)/.installed-runtime-$(KEY)
DEVELOP := $(VENV)/.installed-dev-$(KEY)
LOWEST := $(VENV)-lowest/.installed-$(shell cat setup.py devtools/constraints-lowest.txt pyproject.toml | cksum | cut -d ' ' -f 1)
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint devtools/constraints.txt

# one thread each: the tests run side by side, and small tensors gain nothing from more
export OMP_NUM_THREADS ?= 1
export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-lowest lint types docs benchmark clean

help:
	@sed -n 's/^## //p' Makefile

## make demo        the main job on a real molecule, results in demo_output/
demo: $(RUNTIME)
	$(BIN)/python examples/01_conformers_to_simulations.py

## make test        all tests but the slow ones
test: $(DEVELOP)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --quiet

## make test-slow   the slow ones
test-slow: $(DEVELOP)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --quiet -m slow

## make test-lowest the fast tests, with the lowest versions that setup.py allows, in .venv-lowest
test-lowest: $(LOWEST)
	$(VENV)-lowest/bin/python -m pytest --numprocesses $(WORKERS) --quiet

## make lint        ruff: its rules, and its format
lint: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

## make types       mypy
types: $(DEVELOP)
	$(BIN)/mypy

## make docs        HTML in docs/_build/html; warnings are errors
docs: $(DEVELOP)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs docs/_build/html

## make benchmark   the table of the README (ARCHIVE=..., BENCHMARK_OPTIONS=...)
benchmark: $(RUNTIME)
	$(BIN)/openmm-confgf benchmark conformers $(ARCHIVE) $(BENCHMARK_OPTIONS)

## make install     .venv with everything, and nothing else
install: $(DEVELOP)

## make clean       remove what the targets above made, .venv included
clean:
	rm -rf $(VENV) $(VENV)-lowest docs/_build demo_output build dist *.egg-info

# torch first and pinned: a looser range may pull several gigabytes of CUDA
$(RUNTIME):
	$(PYTHON) -m venv $(VENV)
	@echo "installing openmm_confgf into $(VENV), a few minutes the first time ..."
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

$(DEVELOP): $(RUNTIME)
	$(PIP) --editable ".[dev,plugin]"
	@touch $@

$(LOWEST):
	$(PYTHON) -m venv $(VENV)-lowest
	@echo "installing the lowest versions into $(VENV)-lowest, some minutes and gigabytes: old torch comes with CUDA ..."
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint devtools/constraints-lowest.txt --editable ".[dev]"
	@touch $@
