# Everything runs in .venv of this folder; `make demo` and `make test` set it up by themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --require-hashes

# Python keeps the bytecode of the tests, also where the environment says otherwise: compiling them anew takes each worker 20 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-more lint format bench docs schema template screens console-screens lock clean torture

demo: $(VENV)/.runtime  ## start a server with a catalogue and show how to call it (ARGS=--once stops after the list)
	@$(BIN)/phimage demo $(ARGS)

test: $(VENV)/.dev  ## run the tests, in at most five minutes on two cores (ARGS are pytest's)
	@$(BIN)/pytest -n auto $(ARGS)

# docs/decisions.md#three-suites-by-duration
test-more: $(VENV)/.dev  ## the other tests that end within half an hour: every page, every database and store, short kills
	@$(BIN)/pytest -n auto -m "more and not torture" $(ARGS)

torture: $(VENV)/.dev  ## the long proofs, about an hour: kills, flipped bits, disk errors, crowds (PHIMAGE_TORTURE_KILLS=20 makes them shorter)
	@PHIMAGE_TORTURE_EXAMPLES=1 $(BIN)/pytest -m "torture or hypothesis" $(ARGS)

lint: $(VENV)/.dev  ## ruff, mypy and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev  ## let ruff format and sort
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev  ## measure, in about four minutes; needs wrk and nginx (ARGS=--full takes half an hour and writes bench/RESULTS*.md)
	@$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.dev  ## write docs/reference anew from the code
	@$(BIN)/python -m phimage.reference

schema: $(VENV)/.dev  ## write the SQL text of a new database anew from the migrations
	@$(BIN)/python -m phimage.catalog.schema_text

template: $(VENV)/.dev  ## write the SQL text of the demonstration's database anew, after a change of the schema or the starter catalogue
	@$(BIN)/python -m phimage.demo

screens: $(VENV)/.dev  ## run commands beside a demonstration and write docs/screens.md and the README's picture
	@$(BIN)/python -m tests.docs.screens

console-screens: $(VENV)/.dev  ## make pictures of every page of the console (ARGS="--kept" writes those of the documentation); needs chromium
	@$(BIN)/python -m tests.console.screens $(ARGS)

lock: $(VENV)/.dev  ## write requirements/*.txt anew from pyproject.toml; needs uv
	@uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --universal \
		--python-version 3.11 pyproject.toml --group build -o requirements/runtime.txt
	@uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --universal \
		--python-version 3.11 pyproject.toml --group dev -o requirements/dev.txt

clean:  ## remove what make made
	rm -rf $(VENV) phimage-demo bench/.cache .cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "phimage needs Python 3.11 or newer; try: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV)"
	@$(PIP) -r requirements/runtime.txt
	@$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@echo "adding what tests need"
	@$(PIP) -r requirements/dev.txt
	@touch $@
