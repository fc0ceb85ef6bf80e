# Everything happens in .venv of this checkout; Python 3.11+, pip and make are all that must be there before.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: setup demo test torture check format clean constraints

# The demo needs the data half only; training, Earth Engine, maps and the checks come with `setup`.
.venv/base: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/all: .venv/base
	$(PIP) --editable '.[train,export,earthengine,dask,maps,dev]'
	touch $@

setup: .venv/all

demo: .venv/base
	test -f data/world/catalog.json || $(BIN)/s1s2 simulate data/world --recipe rois/small.geojson --years 2019 2021
	$(BIN)/s1s2 build rois/small.geojson --years 2019 2021 --source data/world --out data/small
	$(BIN)/s1s2 verify data/small
	$(BIN)/s1s2 report data/small

check: .venv/all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/pytest

torture: .venv/all
	$(BIN)/pytest -m torture -s

format: .venv/all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The versions that the tests ran with, for `pip install -c constraints.txt`. geemap and torch come in builds of their own.
constraints: .venv/all
	$(BIN)/python -m pip --disable-pip-version-check freeze --exclude-editable | sed '/ @ /d; s/+cpu$$//' > constraints.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build *.egg-info
