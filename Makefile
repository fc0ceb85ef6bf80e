# Everything happens in .venv of this checkout; Python 3.11+, pip and make are all that must be there before.
PYTHON ?= python3
BIN := .venv/bin

.DELETE_ON_ERROR:
.PHONY: setup demo test check clean

setup: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[train,earthengine,dask,maps,dev]'
	touch $@
