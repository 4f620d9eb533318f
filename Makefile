# C-LEAD Serve. `make` lists what there is to make; nothing here needs an activated environment.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GPU ?= 0
ENVIRONMENTS ?= .venv
# That tests run in. Those of one file share servers and models, and stay together.
PROCESSES ?= 2

# Where to serve, if not where the settings say. HOST counts only on make's own command line: shells export a variable
# of that name that holds the machine's.
ADDRESS := $(if $(filter command,$(origin HOST)),--host '$(HOST)') $(if $(PORT),--port '$(PORT)')

# The first Python that is new enough, unless PYTHON names one.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.11 python3.12 python3.13 python; do \
	$$python $(NEW_ENOUGH) 2>/dev/null && echo $$python && break; done)
endif
PYTHON_VERSION := $(shell $(or $(PYTHON),false) $(NEW_ENOUGH) 2>/dev/null && \
	$(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

SERVE := $(ENVIRONMENTS)/serve$(if $(filter-out 0 no false,$(GPU)),-gpu)
TEST := $(ENVIRONMENTS)/test
# A stamp is newer than what its environment was made from, and names the Python that made it.
STAMP := made-by-python-$(PYTHON_VERSION)

.PHONY: help serve environment test check docs lock clean python

help:
	@echo 'make serve          serve the bundled model on http://127.0.0.1:3000'
	@echo 'make serve GPU=1    the same with the CUDA libraries'
	@echo 'make environment    what training, evaluating and exporting need, in $(TEST) (installs torch: several GB)'
	@echo 'make test           all checks and tests in the same environment'
	@echo 'make check          the checks alone: ruff, mypy, import rules'
	@echo 'make docs           the documentation as a site: build/docs/index.html'
	@echo 'make lock           write requirements/*.txt from pyproject.toml (UPGRADE=1: with the newest versions)'
	@echo 'make clean          remove environments and caches'
	@echo
	@echo 'Variables: HOST, PORT, PYTHON (3.11 or newer), ENVIRONMENTS (where environments are made: .venv),'
	@echo '           PROCESSES (that tests run in: 2), PYTEST_OPTIONS'

serve: $(SERVE)/$(STAMP)
	@exec $(SERVE)/bin/clead serve $(ADDRESS)

environment: $(TEST)/$(STAMP)

test: check
	$(TEST)/bin/python -m pytest --numprocesses=$(PROCESSES) --dist=loadfile $(PYTEST_OPTIONS)

check: $(TEST)/$(STAMP)
	$(TEST)/bin/ruff check .
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports

docs: $(TEST)/$(STAMP)
	$(TEST)/bin/zensical build --strict

$(ENVIRONMENTS)/serve/$(STAMP): requirements/serve.txt
$(ENVIRONMENTS)/serve-gpu/$(STAMP): requirements/serve-gpu.txt
$(TEST)/$(STAMP): requirements/test.txt requirements/no-dependencies.txt
%/$(STAMP): pyproject.toml | python
	@requirements/install.sh '$(PYTHON)' '$*' $(filter %.txt,$^)
	@touch '$@'

lock: | python
	@uv=$$(requirements/find-uv.sh '$(PYTHON)' '$(ENVIRONMENTS)/uv') && \
		requirements/lock.sh "$$uv" $(if $(UPGRADE),--upgrade)

clean:
	@# Only what was made here: ENVIRONMENTS may be a folder with other things in it.
	for made in serve/pyvenv.cfg serve-gpu/pyvenv.cfg test/pyvenv.cfg uv/bin/uv; do \
		if [ -e '$(ENVIRONMENTS)'/"$$made" ]; then rm -rf '$(ENVIRONMENTS)'/"$${made%%/*}"; fi; done
	rmdir '$(ENVIRONMENTS)' 2>/dev/null || true
	rm -rf .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@test -n '$(PYTHON_VERSION)' || { \
		echo 'clead: needs Python 3.11 or newer$(if $(PYTHON),; $(PYTHON) is not,: found none on PATH).' >&2; \
		echo 'clead: name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2; exit 2; }
