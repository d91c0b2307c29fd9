# `make` lists the targets. The first one that needs it makes .venv, once, and again when a project file changes.

PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PROJECTS := $(wildcard packages/*/pyproject.toml)
EDITABLE := $(foreach project,$(PROJECTS),-e $(dir $(project)))
SOURCES := $(wildcard packages/*/src) tests tools

.PHONY: help echo test lint format bench clean

help:
	@echo "make echo    run an echo server on 127.0.0.1:5000 (tcp and udp)"
	@echo "make test    run the tests"
	@echo "make lint    ruff and mypy (linux, darwin, win32)"
	@echo "make format  let ruff format the code"
	@echo "make bench   measure the echo server beside its peers"
	@echo "make clean   remove what make made"

$(VENV)/.stamp: requirements-dev.txt pyproject.toml $(PROJECTS)
	@test -n "$(PYTHON)" || { echo "evio needs Python 3.11 or newer, and none was found (set PYTHON=...)" >&2; exit 1; }
	@echo "making $(VENV) ..."
	@rm -rf $(VENV)
	@if command -v uv >/dev/null; then \
		uv venv -q --python $(PYTHON) $(VENV) && \
		VIRTUAL_ENV=$(VENV) uv pip install -q -r requirements-dev.txt $(EDITABLE); \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt $(EDITABLE); \
	fi
	@touch $@

echo: $(VENV)/.stamp
	@$(BIN)/python -m evio_echo

test: $(VENV)/.stamp
	$(BIN)/python -m pytest

lint: $(VENV)/.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	for platform in linux darwin win32; do \
		$(BIN)/mypy --platform $$platform $(addsuffix /*,$(wildcard packages/*/src)) || exit 1; done
	$(BIN)/mypy tests tools

format: $(VENV)/.stamp
	$(BIN)/ruff check -q --fix $(SOURCES)
	$(BIN)/ruff format -q $(SOURCES)

bench: $(VENV)/.stamp
	$(BIN)/python -m tools.bench echo

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
