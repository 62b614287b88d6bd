# Each target sets up what it needs by itself, in .venv, and reuses what is there.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: setup demo test sweep zoo lint docs bench gpu clean

setup: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip

# The demo needs little; the tests need the development set. Stamps remember which is there.
$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "Installing the package and its demo (PyTorch is large: a few minutes the first time) ..."
	$(RUN) -m pip install --quiet --editable ".[demo]"
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing the package and its development tools (a few minutes the first time) ..."
	$(RUN) -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(RUN) examples/demo.py

# Files in the order of tests/conftest.py: the slowest are among the first, and none is left for the end.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not zoo and not sweep"

sweep: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 -m sweep

zoo: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 -m zoo tests/model_zoo

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(VENV)/.dev
	$(RUN) -m docs.generate
	$(RUN) -m benchmarks.pages

bench: $(VENV)/.dev
	$(RUN) -m benchmarks.speed --json benchmarks/results/speed-cpu.json
	$(RUN) -m benchmarks.pages speed

# On a machine with a CUDA device: tests, comparison and benchmarks within nine minutes.
gpu: $(VENV)/.dev
	$(RUN) -m benchmarks.gpu

clean:
	rm -rf $(VENV) runs dist .mypy_cache .ruff_cache .pytest_cache
