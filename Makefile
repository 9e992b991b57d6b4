# Everything that one does with this repository. Each target makes its own environment in .venv;
# nothing is needed but python3 (3.11 or later) and pip.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PIP := $(PY) -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test fast check format docs bench seeds lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## run the example shop to its end, through two kill -9, and audit it
	@$(PY) examples/shop/demo.py

test: $(READY) ## every test
	@$(PY) -m pytest -n $(JOBS) --dist loadgroup --durations=15 --durations-min=1

fast: $(READY) ## the tests that take seconds
	@$(PY) -m pytest -n $(JOBS) --dist loadgroup -m "not slow and not crash and not client"

check: $(READY) ## lint, format, types, layers, tidiness
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(PY) -m pytest -q tests/test_tidy.py

format: $(READY) ## put the code into its form
	@$(VENV)/bin/ruff check --fix --quiet
	@$(VENV)/bin/ruff format

docs: $(READY) ## write docs/commands.md anew from the command line's own parser
	@$(PY) -m batuta.cli.docs > $(VENV)/commands.md
	@mv $(VENV)/commands.md docs/commands.md

bench: $(READY) ## the benchmarks, each beside its yardstick
	@$(PY) benchmarks/run.py

seeds: $(READY) ## seeded simulation until it finds something or is stopped
	@$(PY) -m tests.simulate.seeds

lock: $(READY) ## look for newer versions of every dependency
	@$(PIP) install uv
	@for set in "run" "dev --all-extras --group dev"; do \
	  set -- $$set; name=$$1; shift; \
	  $(PY) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --no-annotate "$$@" pyproject.toml -o requirements/$$name.txt \
	  || exit 1; \
	done

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# The environment: made again when the lock or the project's own description changes. Where this
# Python has no ensurepip (Debian without python3-venv), the pip beside it fills the environment.
$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is older than 3.11" >&2; \
	  echo "  hint: make PYTHON=python3.12 ... names another one" >&2; exit 1; }
	@test -x $(PY) && $(PY) -m pip --version > /dev/null 2>&1 || { \
	  $(PYTHON) -m venv $(VENV) > /dev/null 2>&1 \
	  || { rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) \
	       && $(PYTHON) -m pip --python $(PY) --disable-pip-version-check --quiet install pip; } \
	  || { rm -rf $(VENV); echo "error: $(PYTHON) cannot make a virtual environment" >&2; \
	       echo "  hint: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
	       exit 1; }; }
	@$(PIP) install --requirement requirements/dev.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@
