# Every target does its own set-up: a .venv with plain pip, versions pinned in constraints.txt.
# A second call installs nothing. `make help` lists the targets.

VENV   ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
WITHOUT_RAY := tests/unit tests/contract tests/simulation

.DEFAULT_GOAL := help
.PHONY: help setup system demo test test-fast soak check format bench docs dashboard clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make the .venv (every other target does this by itself)

$(STAMP): constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Memories needs Python 3.11 or newer; none was found on PATH."; exit 1; }
	@echo "==> setting up $(VENV) with $$($(PYTHON) --version) (once)"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $(STAMP)

system: ## install the Debian packages that tests need (as root on Debian; names them elsewhere)
	@bash tests/support/system_packages.sh

demo: $(STAMP) ## everything at work, in one run
	$(BIN)/memories demo

test: $(STAMP) system ## all tests but the full-size ones
	@# Those that start Ray need the machine for themselves; the others share it. All run, whatever fails.
	@status=0; \
	$(PYTEST) tests/cluster tests/e2e -m 'not soak' || status=1; \
	$(PYTEST) $(WITHOUT_RAY) -m 'not soak and not alone' -n 2 --dist loadfile || status=1; \
	$(PYTEST) $(WITHOUT_RAY) -m 'not soak and alone' || status=1; \
	exit $$status

test-fast: $(STAMP) ## unit, contract and simulation tests: a minute or two
	$(PYTEST) $(WITHOUT_RAY) -m 'not slow and not soak and not gpu' -q -n 2 --dist loadfile

soak: $(STAMP) system ## the full sizes
	$(PYTEST) -m 'soak' --timeout 7200

check: $(STAMP) ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q tests/unit/test_import_rules.py

format: $(STAMP) ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) system ## all benchmarks; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks

docs: $(STAMP) ## the documentation as a site, in site/
	$(BIN)/mkdocs build --strict

dashboard: $(STAMP) ## the dashboard, on loopback
	$(BIN)/memories dashboard

clean: ## remove everything that was built
	rm -rf $(VENV) build dist site src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
