# make demo: see a report.  make test: lint, types and tests.  make help: the rest.
# Needs only make and Python 3.11 or later with its venv module (Debian, Ubuntu: apt install make python3-venv).

PYTHON ?= python3
VENV   ?= .venv

python := $(VENV)/bin/python
pip    := $(python) -m pip --disable-pip-version-check
sample := sample_captures/intermittent-alert.pcap

.DEFAULT_GOAL := help
.PHONY: help demo test check docs fuzz clean

SECONDS := 30  # of fuzzing, each target

help:
	@echo "make demo    set up $(VENV) and report on a sample capture"
	@echo "make test    set up $(VENV) and run ruff, mypy and the tests"
	@echo "make check   ruff and mypy alone"
	@echo "make docs    write the generated parts of the documentation anew"
	@echo "make fuzz    throw hostile bytes at every reader, $(strip $(SECONDS)) seconds each (SECONDS=600: longer)"
	@echo "make clean   remove $(VENV) and what tools left behind"
	@echo "Choose the interpreter with PYTHON, as in: make test PYTHON=python3.12"

demo: $(VENV)/installed
	$(python) -m tlspcap report $(sample)

test: check
	$(python) -m pytest --numprocesses=auto

check: $(VENV)/installed-dev
	$(python) -m ruff check .
	$(python) -m mypy --strict tlspcap

docs: $(VENV)/installed-dev
	PYTHONPATH=tests $(python) docs/generate.py

fuzz: $(VENV)/installed-fuzz
	@for target in $$(PYTHONPATH=tests $(python) -m fuzz); do \
	  echo "fuzzing $$target" && PYTHONPATH=tests $(python) -m fuzz $$target \
	    -verbosity=0 -print_final_stats=1 -max_total_time=$(strip $(SECONDS)) || exit 1; \
	done

clean:
	rm -rf $(VENV) .fuzz build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. Its stamps are older than pyproject.toml when the requirements may have changed; the package itself
# is installed editable, so that a change of the code needs no new installation.

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tlspcap needs Python 3.11 or later; choose one with: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module is missing or broken; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/installed: pyproject.toml | $(VENV)/created
	@echo "Installing tlspcap and what it needs into $(VENV); the first time takes a minute."
	@$(pip) install --quiet --editable .
	@touch $@

# Dependency groups need pip 25.1; Debian 12 brings 23.0.
$(VENV)/installed-dev: pyproject.toml | $(VENV)/created
	@echo "Installing tlspcap with its development tools into $(VENV); the first time takes a minute or two."
	@$(pip) install --quiet --upgrade 'pip>=25.1'
	@$(pip) install --quiet --editable . --group dev
	@touch $@ $(VENV)/installed

# atheris is built for the usual processors only, so that it is no part of the rest.
$(VENV)/installed-fuzz: pyproject.toml | $(VENV)/created
	@echo "Installing tlspcap with the fuzzer into $(VENV); the first time takes a minute or two."
	@$(pip) install --quiet --upgrade 'pip>=25.1'
	@$(pip) install --quiet --editable . --group fuzz
	@touch $@ $(VENV)/installed
