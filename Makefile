# `make study` and `make test` need python3 and make; they set up .venv from the lock once, and again when it changes.
# ARGS reaches the command: make study ARGS="--preset small", make test ARGS="-k srocc", make lock ARGS=--upgrade.

# Bytecode is written once, even where images of containers forbid it: else every process compiles torch anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.done
ARGS ?=

.PHONY: study test check lock setup clean

study: setup
	$(BIN)/python tune.py --study patch_size $(ARGS)

test: check
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)

# pip installs uv alone, from its entry in the lock; uv the rest. sync leaves in .venv exactly what the lock names.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
	echo "Python 3.11 to 3.14 is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
	"name another with: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	awk '/^uv==/, !/\\$$/' requirements.txt | $(BIN)/pip install --quiet --disable-pip-version-check --requirement /dev/stdin
	$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.txt
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $(READY)

lock: setup
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra cluster --extra s3 --extra dev \
	--custom-compile-command "make lock" pyproject.toml --output-file requirements.txt $(ARGS)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info
