# make run and make test do all their set-up: a virtual environment in .venv with the exact versions of constraints.txt.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
STAMP  := $(VENV)/.installed

# The tests start hundreds of processes that import the same modules. Compiled once is enough, whatever the caller's shell says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run run-digits deploy-demo formal test check lint types hooks bench bench-quick bench-files book vectors release clean

help:  ## this list
	@awk -F ':.*## ' '/^#@ / { print "\n" substr($$0, 4) } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

#@ See it run
run: $(STAMP)  ## ten hospitals train together in secure rounds, on real data
	$(BIN)/python -m examples.hospitals configs/quickstart.toml

run-digits: $(STAMP)  ## twenty parties train a CNN on real digit images
	$(BIN)/python -m examples.hospitals configs/digits.toml

deploy-demo: $(STAMP)  ## a SuperLink and eight SuperNodes with TLS, in malicious mode; each phase loses one; takes some minutes
	$(BIN)/python -m examples.deployment

#@ Check a change
# One worker more than CI has cores: tests of deployments wait for much of their time.
test: lint types  ## everything that CI checks: lint, types, import contract, all tests, the wheel
	$(BIN)/python -m pytest -n 3 --dist worksteal

check: lint types  ## the quick checks only

lint: $(STAMP)  ## ruff and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

formal: $(STAMP)  ## every schedule of a small round against a lying coordinator, in a model checker
	$(BIN)/python -m tests.formal

hooks: $(STAMP)  ## have git run the quick checks before every commit; needs no network
	$(BIN)/pre-commit install

#@ Measure
bench: $(STAMP)  ## every benchmark but that of files, beside peers and limits, with targets; about forty minutes, and packages of its own
	@$(PIP) install -c constraints.txt --editable '.[all,dev,bench]'
	$(BIN)/python -m benchmarks

bench-quick: $(STAMP)  ## the same at small sizes, in minutes: does everything run, is every result right?
	$(BIN)/python -m benchmarks --quick

bench-files: $(STAMP)  ## sealed files beside plain and other encrypted ones; takes some minutes, and packages of its own
	@$(PIP) install -c constraints.txt --editable '.[torch,bench]'
	$(BIN)/python -m benchmarks.sealed

#@ Write and give away
book: $(STAMP)  ## the documentation as a website, in build/book
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

vectors: $(STAMP)  ## write the checked-in test vectors anew
	$(BIN)/python -m tests.vectors.generate

release: $(STAMP)  ## VERSION=x.y.z: all checks, and wheel and sdist in dist/; uploads nothing, tags nothing
	@test -n "$(VERSION)" || { echo "which one? make release VERSION=x.y.z" >&2; exit 2; }
	$(BIN)/python -m tests.release $(VERSION)

clean:  ## remove what make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# torch first and by its exact version: a range, or torch as somebody's dependency, would fetch the newest build with its CUDA libraries.
# Compiled is what is imported, when it is: a fifth of the modules.
$(STAMP): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade -c constraints.txt pip
	@$(PIP) install --no-compile -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(PIP) install --no-compile -c constraints.txt --editable '.[all,dev]'
	@touch $(STAMP)
