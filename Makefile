# Everything a developer does, from a fresh clone, with python3 and make.

PYTHON ?= python3
# More than a machine with two cores has: most of the time tests wait for processes.
JOBS ?= 4
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Apart from what is audited: it brings two dozen packages that nothing else needs.
AUDIT := $(VENV)/audit

MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test chaos mutants check audit bench mutation clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv and install the package with everything it needs

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed and $(PYTHON) is not: try make PYTHON=python3.12" >&2; exit 2; }
	@echo "Installing into $(VENV); this takes half a minute, once." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q -c requirements.lock -e '.[dev]'
	@touch $@

demo: $(READY) ## Run every kind of work against an embedded database, and end; ARGS=--json for a program
	@$(BIN)/lf-worker demo $(ARGS)

dev: $(READY) ## Run the whole stack until Ctrl-C
	@$(BIN)/lf-worker dev $(ARGS)

test: $(READY) ## Run the test suite; JOBS=2 for fewer processes, ARGS='-k name' for less
	@$(BIN)/pytest -q -n $(JOBS) $(ARGS)

chaos: $(READY) ## Two minutes of faults at random; ARGS='--minutes 30' for a soak, '--seed 7' for one again
	@$(BIN)/python -m tests.chaos $(ARGS)

mutants: $(READY) ## Show that chaos finds it when a safeguard is taken away; six minutes
	@$(BIN)/python -m tests.chaos.mutation $(ARGS)

check: $(READY) ## Lint, check the format, the types, the imports and the dependencies
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) audit

audit: $(READY) ## Ask for known vulnerabilities of the dependencies, where the network allows
	@test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && \
		$(AUDIT)/bin/pip install -q --timeout 10 --retries 0 'pip-audit>=2.10,<3'; } >/dev/null 2>&1 || true
	@$(BIN)/python .ci/audit.py $(AUDIT)/bin/pip-audit --no-deps --disable-pip -r requirements.lock \
		--progress-spinner off --timeout 10 -f json

bench: $(READY) ## Measure every speed that the README claims; twenty minutes
	@for name in lens_runs broker battles workflows webhooks vote_anomalies limits; do \
		$(BIN)/python -m bench.$$name $(ARGS) || exit 1; done

mutation: $(READY) ## Change the code on purpose, a thousand times, and see that the tests notice; ten minutes
	@$(BIN)/pip install -q -c requirements.lock -e '.[dev,mutation]'
	@$(BIN)/python -m bench.mutation $(ARGS)

clean: ## Remove what the other targets made
	rm -rf $(VENV) .lf-worker build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache mutants
