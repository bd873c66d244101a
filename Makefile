# Everything a newcomer needs: `make demo` runs the main job, `make test` the tests; both set up what they need first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Which torch: auto (the build that pip prefers here), cpu, cuda (both also where pip prefers the other), or installed (the
# one that $(PYTHON) or an existing .venv has). `make setup TORCH=cpu` is remembered until another is asked for.
TORCH :=
BEFORE := $(shell cat $(STAMP) 2>/dev/null)
CHOICE := $(or $(TORCH),$(BEFORE),auto)

.PHONY: setup demo test learned check docs pictures bench clean again

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml infra/environment.py $(if $(filter-out $(BEFORE),$(CHOICE)),again)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Recast needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(if $(filter installed,$(CHOICE)),--system-site-packages) $(VENV) \
		|| { echo "on Debian: apt install python3-venv"; exit 1; }
	$(BIN)/python infra/environment.py install --torch $(CHOICE)
	$(BIN)/pip --disable-pip-version-check install --no-deps -e .
	$(BIN)/python infra/environment.py check --torch $(CHOICE)
	$(BIN)/recast --version
	echo $(CHOICE) > $(STAMP)

demo: setup
	$(BIN)/recast demo

test: setup
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder

learned: setup
	$(BIN)/pytest -q -s tests/learned

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python infra/audit.py

docs: setup
	$(BIN)/cyclopts generate-docs recast/jobs/cli.py:app --usage-name recast -o docs/reference/commands.md
	$(BIN)/pdoc -d google -o site recast

pictures: setup  # of the README and docs/; hours on a CPU, and Chromium for those of pages
	$(BIN)/python docs/pictures.py

bench: setup
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) site demo-out pictures-out build dist *.egg-info
