# `make demo` and `make test` are all that most people need. Everything lives in .venv; `make clean` removes what was made.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3.10 python3))
JOBS ?= 2
BIN := .venv/bin

# Wheels of torch from elsewhere: make demo TORCH_INDEX=... with the index of the CPU or CUDA build that pytorch.org names.
TORCH_INDEX ?=
INSTALL = $(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt

.PHONY: help demo gallery test lint format typecheck soak mutations bench performance clean
.DEFAULT_GOAL := help

help:
	@echo "make demo | gallery | test | lint | format | typecheck | soak | mutations | bench | performance | clean"

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/core.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[test,dev]'
	touch $@ .venv/core.stamp

demo: .venv/core.stamp
	$(BIN)/python scripts/demo.py --out demo

gallery: .venv/core.stamp
	$(BIN)/python scripts/gallery.py

test: .venv/dev.stamp
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not soak and not alone"
	$(BIN)/python -m pytest -m "alone and not soak" $(shell grep -rl "mark.alone" tests)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: .venv/dev.stamp
	$(BIN)/mypy

soak: .venv/dev.stamp
	$(BIN)/python -m pytest -m soak
	$(BIN)/python scripts/soak.py

mutations: .venv/dev.stamp
	$(BIN)/python scripts/mutations.py

bench: .venv/dev.stamp
	for script in $(filter-out %/distilled.py %/emoji_figures.py %/discriminator.py %/gpu.py %/ldm4.py %/pairs.py %/sampling_modes.py %/serve.py %/solvers.py %/tasks.py %/tiles.py %/upscaling.py, $(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

performance: .venv/core.stamp
	$(BIN)/python scripts/performance.py

clean:
	rm -rf .venv demo gallery build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
