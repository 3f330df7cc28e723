# make demo   install the core in .venv and run the main job on a simulated field
# make test   install what the checks and tests need in .venv and pass them
# make docs   build the documentation site in docs/_build/html
# make clean  remove what the others made
#
# Needs Python 3.11 to 3.13 (another one: make demo PYTHON=python3.12) and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

.PHONY: demo test check docs clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/core
	$(BIN)/astrid images demo --out demo

test: $(STAMPS)/dev
	PYTHON=$(abspath $(BIN)/python) scripts/check
	PYTHON=$(abspath $(BIN)/python) scripts/test
	PYTHON=$(abspath $(BIN)/python) scripts/docs

check: $(STAMPS)/dev
	PYTHON=$(abspath $(BIN)/python) scripts/check

docs: $(STAMPS)/dev
	PYTHON=$(abspath $(BIN)/python) scripts/docs

clean:
	rm -rf $(VENV) demo docs/_build docs/_generated build dist

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else "AstrID needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d; give another: make PYTHON=python3.12" % v[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module; install it (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

# A new pyproject.toml is a new installation; the code itself is used where it lies.
$(STAMPS)/core: pyproject.toml $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMPS)/dev: pyproject.toml $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs]'
	@touch $@ $(STAMPS)/core
