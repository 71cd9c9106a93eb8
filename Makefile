# Two commands set everything up: `make quickstart` and `make test`. Each builds .venv by itself.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The versions that were tested. `make constraints` makes the file anew, `make test-latest` tries today's releases.
INSTALL := $(PIP) install -c constraints.txt

# Half of what the tests do is waiting for processes, so two a core; more than 8 would wait for each other.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(2 * (os.cpu_count() or 1), 8))')

.PHONY: quickstart test test-long test-engines test-latest fuzz chaos constraints lint format docs screens bench bench-search bench-ensembles bench-sharing bench-arrays bench-nodes bench-scheduling bench-serving bench-enas clean

quickstart: $(VENV)/.run
	$(COMPILE)
	$(BIN)/rafiki quickstart

test: $(VENV)/.test
	$(COMPILE)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not engines and not long'
	@echo 'Whole stories, attacks and kills: make test-long. With Docker hosts, TLS, torch and an index: make test-engines'

# Whole stories on stacks of their own: attacks, kills, every example of every help, every search scheme, scripts of users.
test-long: $(VENV)/.test
	$(COMPILE)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'long and not engines'

# What needs such engines; where one is missing its tests skip. docs/contributing.md says what to install.
test-engines: $(VENV)/.test
	$(COMPILE)
	$(BIN)/python -m pytest -n $(WORKERS) -m engines

# Tries the newest releases of every library in an environment of its own, and names those that differ.
test-latest:
	$(PYTHON) .ci/latest.py test

# Makes constraints.txt anew from the newest releases: do it when `make test-latest` passes.
constraints:
	$(PYTHON) .ci/latest.py constraints

# 10,000 calls as each role, made at random; SEED makes those of another run.
CALLS ?= 10000
SEED ?= 1
fuzz: $(VENV)/.test
	$(COMPILE)
	RAFIKI_FUZZ_CALLS=$(CALLS) RAFIKI_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest tests/acceptance/test_fuzz.py

# Hurts a stack at work for an hour, and counts what it cost; DATABASE is sqlite or postgresql.
MINUTES ?= 60
DATABASE ?= sqlite
chaos: $(VENV)/.test
	$(COMPILE)
	PYTHONPATH=tests:. $(BIN)/python -m chaos --database $(DATABASE) --seed $(SEED) --minutes $(MINUTES) \
		--out benchmarks/results/chaos-$(DATABASE).json

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Warnings are errors. The pages of the reference are made from the code.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo 'docs/_build/html/index.html'

# Runs the commands of the lessons in a terminal of 80 columns, and keeps what it shows in docs/screens.
screens: $(VENV)/.docs
	$(BIN)/python -m docs._generate.screens $(NAMES)

bench: $(VENV)/.test
	$(COMPILE)
	$(BIN)/python -m benchmarks

# These search for long; the last two train networks, so torch has to be there.
bench-search: $(VENV)/.bench
	$(BIN)/python -m benchmarks.search

bench-ensembles: $(VENV)/.test
	$(BIN)/python -m benchmarks.ensembles

bench-sharing: $(VENV)/.test
	$(BIN)/python -m benchmarks.sharing

bench-arrays: $(VENV)/.test
	$(BIN)/python -m benchmarks.arrays

# Needs root: its hosts are network namespaces.
bench-nodes: $(VENV)/.test
	$(BIN)/python -m benchmarks.nodes

# Beside mosec, LitServe, BentoML and Ray Serve; each is installed into an environment of its own, once. QUICK=1: one round.
bench-serving: $(VENV)/.test
	$(COMPILE)
	$(BIN)/python -m benchmarks.serving $(if $(QUICK),--quick)

# Who answers under load, on a real stack and in simulation; with QUICK=1 one short run of each policy.
bench-scheduling: $(VENV)/.test
	$(BIN)/python -m benchmarks.scheduling $(if $(QUICK),--quick)

bench-enas: $(VENV)/.test
	$(BIN)/python -m benchmarks.enas

clean:
	rm -rf $(VENV) docs/_build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Its distribution was called rafiki once: both in one environment would share a command.
FORGET_OLD_NAME := $(PIP) uninstall --yes rafiki 2>/dev/null

# As pip does for a package that it copies: without, where the environment keeps Python from writing bytecode (images of
# containers do), every command and service would translate its own source each time.
COMPILE := $(BIN)/python -m compileall -q rafiki rafiki_cli

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(FORGET_OLD_NAME)
	$(INSTALL) -e '.[templates]'
	$(COMPILE)
	touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(FORGET_OLD_NAME)
	$(INSTALL) -e '.[templates,docs]'
	$(COMPILE)
	touch $@ $(VENV)/.run

$(VENV)/.bench: pyproject.toml constraints.txt | $(BIN)/python
	$(FORGET_OLD_NAME)
	$(INSTALL) -e '.[templates,test,bench]'
	$(COMPILE)
	touch $@ $(VENV)/.run $(VENV)/.test $(VENV)/.docs

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(FORGET_OLD_NAME)
	$(INSTALL) -e '.[templates,test]'
	$(COMPILE)
	touch $@ $(VENV)/.run $(VENV)/.docs
