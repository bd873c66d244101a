# Everything a newcomer needs: `make demo` runs the main job, `make test` the tests; both set up what they need first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test check docs bench clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Recast needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV) || { echo "on Debian: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $(STAMP)

demo: setup
	$(BIN)/recast demo

test: setup
	$(BIN)/pytest -q

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python infra/audit.py

docs: setup
	$(BIN)/cyclopts generate-docs recast/jobs/cli.py:app --usage-name recast -o docs/reference/commands.md
	$(BIN)/pdoc -d google -o site recast

bench: setup
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) site demo-out build dist *.egg-info
