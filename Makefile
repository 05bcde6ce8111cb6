# make demo: set up, then import sample_data/ into the sandbox.    make test: set up, then run every check.
# Needs Python 3.11 or later and make (GNU make 3.81 will do). PYTHON=python3.13 chooses another Python.

SHELL := /bin/sh
PYTHON ?=
BIN := .venv/bin
# The stamps lie in .venv: whoever deletes that folder gets a new one. They hold the environment to its lock.
RUNTIME := .venv/.runtime-installed
DEV := .venv/.dev-installed

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench soak lock clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    import the sample exports into the embedded sandbox'
	@echo 'make test    every check: style, types, layering, all tests'
	@echo 'make check   the quick ones, while you work'
	@echo 'make format  put the code into its form'
	@echo 'make bench   measure, beside the plain ways of doing the same (twenty minutes, 10 GB in TMPDIR)'
	@echo 'make soak    import a million events through bad weather, killed ten times'
	@echo 'make lock    lock the newest releases that pyproject.toml allows'
	@echo 'make clean   delete what the other targets made'

$(RUNTIME): .ci/setup .ci/requirements.lock pyproject.toml
	@PYTHON='$(PYTHON)' sh .ci/setup runtime

$(DEV): .ci/setup .ci/requirements-dev.lock pyproject.toml
	@PYTHON='$(PYTHON)' sh .ci/setup dev

# Exit status 3 means: done, and some rows were rejected. The sample exports have such rows on purpose.
demo: $(RUNTIME)
	@for name in shopify_orders loyalty klaviyo_events; do \
	    echo; echo "backfill run sample_data/$$name.yaml --sandbox --yes"; \
	    status=0; $(BIN)/backfill run sample_data/$$name.yaml --sandbox --yes || status=$$?; \
	    case $$status in 0|3) ;; *) echo "make demo: ended with exit status $$status" >&2; exit $$status ;; esac; \
	done
	@echo; echo 'The rejected rows are there on purpose: sample_data/README.md tells what is wrong with each.'
	@echo 'Reports, one folder a run, with report.html and rejected.csv:'
	@ls -d "$${BACKFILL_STATE:-sample_data/.backfill}"/sandbox/runs/*/

test: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m pytest -n 3 --dist worksteal --durations 20

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 3 --dist worksteal -m 'not slow'

format: $(DEV)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(DEV)
	$(BIN)/python -m tests.bench

soak: $(DEV)
	$(BIN)/python -m tests.faults.soak

lock:
	@PYTHON='$(PYTHON)' sh .ci/lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build sample_data/.backfill
	find backfill tests sample_data .ci -name __pycache__ -prune -exec rm -rf {} +
