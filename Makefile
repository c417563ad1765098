# Everything starts here; `make help` lists it. All that is needed is Python 3.11 and make:
# the targets install uv, the locked dependencies and, when the machine has none, a Java.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
DEMO_S ?= 120
NIGHTLY_ARGS ?=
LEARNING_ARGS ?=
UV := .uv/bin/uv
RUN := .venv/bin

.PHONY: help setup check lint types chain unit test demo bench prove-stream prove-decisions prove-nightly prove-learning schemas clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: .venv/.ready ## install the locked dependencies into .venv

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "Beckon needs Python 3.11: install it, or say make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet 'uv>=0.5'

.venv/.ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --all-extras --python $(PYTHON)
	@touch $@

lint: setup
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: setup
	$(RUN)/mypy

chain: setup
	$(RUN)/lint-imports

unit: setup ## the fast tests: no JVM, no server
	$(RUN)/pytest -m 'not flink and not stack and not slow' -q

check: lint types chain unit ## what CI runs before the slow tests

test: check ## every test, on real servers that it starts and stops (about 25 minutes)
	$(RUN)/pytest -m 'flink or stack or slow' -v

demo: setup ## the whole product live for DEMO_S seconds (120), then a report
	$(RUN)/beckon demo --seconds $(DEMO_S)

bench: setup ## measure throughput and latency against the peers (about 15 minutes)
	$(RUN)/python -m benchmarks.run

prove-stream: setup ## replay, bad input and random kills; ends with one JSON line of figures
	$(RUN)/python -m benchmarks.prove_stream

prove-decisions: setup ## a day of a million events with crashes, judged; one JSON line (about 10 minutes)
	$(RUN)/python -m benchmarks.prove_decisions

prove-nightly: setup ## the night shift on a million examples; ends with one JSON line of figures
	$(RUN)/python -W ignore -m benchmarks.prove_nightly $(NIGHTLY_ARGS)

prove-learning: setup ## regret, lift, crashes, parity and replay of what learns, on real servers too; one JSON line
	$(RUN)/python -m benchmarks.prove_learning $(LEARNING_ARGS)

schemas: setup ## write the JSON Schemas and tables of names anew after a change
	$(RUN)/python -m schemas.generate
	$(RUN)/python -m jobs.metrics

clean: ## remove what the targets made (not the jars in your cache)
	rm -rf .venv .uv .beckon .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
