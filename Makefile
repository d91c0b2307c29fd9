# `make` lists the targets. The first one that needs it makes .venv, once, and again when a project file changes.

PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PROJECTS := $(wildcard packages/*/pyproject.toml)
EDITABLE := $(foreach project,$(PROJECTS),-e $(dir $(project)))
SOURCES := $(wildcard packages/*/src) tests tools docs

.SECONDARY: # or make removes the environments as intermediate files
.PHONY: help echo redis http test test-all differential lint format types types-linux types-darwin types-win32 bench figures wheels man soak docs clean

help:
	@echo "make echo           run an echo server on 127.0.0.1:5000 (tcp and udp)"
	@echo "make redis          run a key-value server on 127.0.0.1:6380; try: redis-cli -p 6380"
	@echo "make http           serve examples/site on http://127.0.0.1:8080"
	@echo "make scale-NAME     run examples/scale-out/NAME: shards, failover, cluster, proxy-protocol, cache"
	@echo "make test           run the tests"
	@echo "make test-all       run the whole matrix and all examples, on every Python from 3.11 on that is found"
	@echo "make differential   compare evio-redis with redis-server on EXAMPLES=5000 sequences of commands"
	@echo "make lint           ruff, mypy (linux, darwin, win32) and codespell"
	@echo "make types          mypy alone"
	@echo "make format         let ruff format the code"
	@echo "make wheels         build sdists and wheels into dist/, install and try them on every Python that is found"
	@echo "make man            make the manual pages and completions that wheels have"
	@echo "make soak           load evio-http for ten minutes: nothing may leak or fail"
	@echo "make docs           build the documentation into site/"
	@echo "make bench          measure the servers beside others: a table and a chart, in two minutes"
	@echo "make figures        measure all that the documentation shows: its tables and charts, in nine minutes"
	@echo "make clean          remove what make made"

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

# The servers run in environments of their own, made in seconds: .venv has all that developing needs.
build/run-%/.stamp: tools/light.py $(PROJECTS)
	@test -n "$(PYTHON)" || { echo "evio needs Python 3.11 or newer, and none was found (set PYTHON=...)" >&2; exit 1; }
	@echo "making build/run-$* ..."
	@$(PYTHON) tools/light.py evio-$* build/run-$*

echo: build/run-echo/.stamp
	@build/run-echo/bin/python -m evio_echo

redis: build/run-redis/.stamp
	@build/run-redis/bin/python -m evio_redis

http: build/run-http/.stamp
	@build/run-http/bin/python -m evio_http examples/site --listing

# With proxies and Sentinels from the distribution; Debian has them in /usr/sbin.
scale-%: $(VENV)/.stamp
	@PATH="$(abspath $(BIN)):/usr/sbin:$$PATH" examples/scale-out/$*/run.sh

# TESTS: further arguments for pytest, as in make test TESTS=tests/core
test: $(VENV)/.stamp
	$(BIN)/python -m pytest $(TESTS)

EXAMPLES ?= 5000

differential: $(VENV)/.stamp
	EVIO_DIFFERENTIAL_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/redis/test_differential.py

# Interpreters by name and, as pyenv has them, by version.
PYTHONS = $(wildcard $(foreach version,3.11 3.12 3.13 3.14,\
	$(shell command -v python$(version)) $(HOME)/.pyenv/versions/$(version).*/bin/python))

test-all:
	@tested=""; for python in $(PYTHONS); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
		case " $$tested " in *" $$version "*) continue;; esac; \
		tested="$$tested $$version"; echo "== Python $$version"; \
		EVIO_TESTS=full $(MAKE) --no-print-directory test PYTHON=$$python VENV=build/venv-$$version || exit 1; \
	done; echo "tested on:$$tested"; test -n "$$tested"

lint: types
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/codespell $(SOURCES) *.md packages/*/README.md contrib examples

# A cache for each platform: mypy forgets what it knows when the platform is another one.
types: types-linux types-darwin types-win32
types-linux: TYPED = tests tools docs
types-linux types-darwin types-win32: types-%: $(VENV)/.stamp
	$(BIN)/mypy --platform $* --cache-dir .mypy_cache/$* $(addsuffix /*,$(wildcard packages/*/src)) $(TYPED)

format: $(VENV)/.stamp
	$(BIN)/ruff check -q --fix $(SOURCES)
	$(BIN)/ruff format -q $(SOURCES)

bench: $(VENV)/.stamp
	$(BIN)/python -m tools.bench short

# One interpreter of each version.
wheels: $(VENV)/.stamp
	@tested=""; chosen=""; for python in $(PYTHONS); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
		case " $$tested " in *" $$version "*) continue;; esac; \
		tested="$$tested $$version"; chosen="$$chosen $$python"; \
	done; $(BIN)/python -m tools.wheels $$chosen

man: $(VENV)/.stamp
	@$(BIN)/python -m tools.share

figures: $(VENV)/.stamp
	$(BIN)/python -m tools.bench docs

soak: $(VENV)/.stamp
	$(BIN)/python -m tools.soak

docs: $(VENV)/.stamp
	$(BIN)/sphinx-build -q -E -W --keep-going -b html -d build/doctrees docs site
	@echo "site/index.html"

clean:
	rm -rf $(VENV) build dist packages/*/share site .mypy_cache .pytest_cache .ruff_cache .hypothesis
