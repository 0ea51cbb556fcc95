# What people run; the comment after ## is the help. Everything that needs set-up does it.
PYTHON ?= python3
BIN := .venv/bin
UV := $(or $(shell command -v uv),.cache/uv/bin/uv)
SCENARIOS := loop bad-labels bad-canary
SEEDS := 0 1 2
TEST_JOBS ?= 2
FAULT_JOBS ?= 2
BENCHES := meter sink freshness scale "drift --long" "turn --long" live shared
# The environments are ours: they keep their bytecode, or each of some thirty processes would compile its imports anew.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help setup up demo test unit check lock acceptance faults bench quantize-check clean

help: ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: ## both environments, Java, the broker's jars; only what is missing
	@$(PYTHON) deploy/setup.py

up: setup ## the embedded stack with live demo traffic and the console; Ctrl-C ends it
	@$(BIN)/tidemill up

demo: setup ## the loop closed once, headless: a summary, one JSON line, exit code 0 only if it closed
	@$(BIN)/tidemill demo

test: ## all set-up, then every test
	@$(PYTHON) deploy/setup.py --browser --alerting --ray --dvc
	@failed=0; $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile $(wildcard tests/unit tests/properties tests/integration \
		tests/browser tests/faults) || failed=1; $(BIN)/python -m pytest tests/loop || failed=1; exit $$failed

unit: setup ## unit and property tests only
	@$(BIN)/python -m pytest $(wildcard tests/unit tests/properties)

check: setup ## lint, format, types, import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --explicit-package-bases tidemill producers streams consumers retrain serving dashboards benchmarks tests deploy/setup.py
	@$(BIN)/lint-imports

lock: setup ## resolve the requirements anew
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
		--extra dev pyproject.toml -o requirements/all.txt
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
		--overrides requirements/engine.overrides requirements/engine.in -o requirements/engine.txt
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
		requirements/ray.in -o requirements/ray.txt
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
		requirements/quantize.in -o requirements/quantize.txt
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
		requirements/dvc.in -o requirements/dvc.txt
	for peer in quix bytewax; do $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command "make lock" requirements/peers-$$peer.in -o requirements/peers-$$peer.txt || exit 1; done

acceptance: setup ## every scenario with three seeds, and one loop with kills; takes hours
	@mkdir -p .cache; : > .cache/acceptance.jsonl; failed=0; \
	for scenario in $(SCENARIOS); do for seed in $(SEEDS); do echo "== $$scenario, seed $$seed"; \
		$(BIN)/tidemill demo --scenario $$scenario --seed $$seed --json >> .cache/acceptance.jsonl || failed=1; \
	done; done; echo "== loop with kills"; \
	$(BIN)/tidemill demo --kill gateway,meter,streams,sink,scorer,trainer,retrain,rollout --json \
		>> .cache/acceptance.jsonl || failed=1; \
	echo "results: .cache/acceptance.jsonl"; exit $$failed

faults: ## every fault on whole deployments, two at a time; some 25 minutes; writes docs/reliability.md
	@$(PYTHON) deploy/setup.py --faults
	@mkdir -p .cache; : > .cache/faults.jsonl; failed=0; \
	$(BIN)/python -m pytest -n $(FAULT_JOBS) tests/faults/full.py || failed=1; \
	$(BIN)/python -m pytest tests/faults/large.py || failed=1; \
	$(BIN)/python -m tests.faults.report || failed=1; exit $$failed

bench: setup ## every benchmark, some three hours; they report, they do not judge
	@$(BIN)/tidemill models
	@failed=0; for name in $(BENCHES); do echo "== $$name"; $(BIN)/tidemill bench $$name --page || failed=1; done; \
	nice -n 5 $(BIN)/python -m benchmarks.learning_curve || failed=1; exit $$failed

quantize-check: ## models in int8, served by vLLM on the processor, compared and rolled out blue/green; some minutes
	@$(PYTHON) deploy/setup.py --quantize
	@$(BIN)/python -m pytest -s tests/quantize/served.py tests/quantize/blue_green.py

clean: ## remove environments, jars, caches and the stack's data
	rm -rf .venv .venv-engine .venv-ray .venv-quantize .venv-dvc .jars .tidemill .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
