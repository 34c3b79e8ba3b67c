# Every target creates .venv by itself when it is missing; nothing has to be prepared but Python 3.11+.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo up down test check bench crash evaluate
.DEFAULT_GOAL := demo

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "spendloop needs Python 3.11 or newer on the PATH; set PYTHON=... to name one" >&2; exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version) (about two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --no-compile --quiet --editable '.[local,dev]' \
		|| { echo "The packages above could not be installed: is the Python package index reachable?" >&2; exit 1; }
	@touch $(READY)

demo: $(READY)
	@$(BIN)/spendloop demo

up: $(READY)
	@$(BIN)/spendloop up

down: $(READY)
	@$(BIN)/spendloop down

# Three processes with a stack each: the longest tests wait for sessions to run out, not for the processor.
test: $(READY)
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(PYTEST_ARGS)

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)
	@$(BIN)/python -m tests.bench

crash: $(READY)
	@$(BIN)/python -m tests.crash $(CRASH_ARGS)

evaluate: $(READY)
	@$(BIN)/python -m tests.evaluate.decisions $(EVALUATE_ARGS)
