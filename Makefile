# Each target works alone on a machine with Python >= 3.11: it makes its own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Stealing keeps the tests of a file, which share what their fixtures make, in one process.
WORKERS = --numprocesses=auto --maxprocesses=8 --dist=worksteal

.PHONY: demo test test-fast lint docs results clean

demo: $(VENV)/installed
	$(BIN)/clwm demo

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS)

test-fast: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) -m "not slow"

lint: $(VENV)/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

results: $(VENV)/installed
	$(BIN)/python -m docs.generate.results

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev,docs]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps dm-control  # see pyproject.toml
	touch $@
