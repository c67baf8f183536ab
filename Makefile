# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Each creates .venv on its first run; a second run starts at once.
PYTHON ?= python3
BIN := .venv/bin
NPM := $(shell command -v npm 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench soak wheel clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

.venv/.demo: pyproject.toml
	@test -x $(BIN)/python || { echo "creating .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing realtime-kit (first run only)"
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[pusher,ably,flask,server,sql,jwt,encryption,emulators]'
	@touch $@

.venv/.dev: .venv/.demo
	@echo "installing the test tools (first run only)"
	@$(BIN)/python -m pip install --quiet --editable '.[pusher,ably,aws,flask,server,sql,jwt,encryption,emulators]' --group dev
	@touch $@

# MiniStack pins versions that would be in the way of ours.
.venv/.ministack: .venv/.dev
	@echo "installing MiniStack, for the tests of a deployment (first run only)"
	@$(BIN)/python -m venv --without-pip .venv/ministack
	@$(BIN)/python -m pip --python .venv/ministack/bin/python install --quiet --group ministack
	@touch $@

node_modules/.package-lock.json: package.json package-lock.json
ifdef NPM
	@echo "installing the official JavaScript clients for the tests (first run only)"
	@npm ci --silent
	@touch $@
else
	@echo "no npm on this machine: tests with Node are skipped"
endif

setup: .venv/.dev .venv/.ministack node_modules/.package-lock.json  ## install everything that the tests and benches need

demo: .venv/.demo  ## the demo at http://127.0.0.1:8000 (PORT and REALTIME_PORT change the ports)
	@$(BIN)/realtime-kit demo

test: setup  ## the whole test suite, on up to four processors
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 $(ARGS)

check: setup  ## lint, format, types, layers, the client's size
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q --no-header tests/client/test_client.py -k budget

format: .venv/.dev  ## format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

soak: setup  ## the property tests at scale (SOAK=50 times as many examples)
	@SOAK=$${SOAK:-50} $(BIN)/python -m pytest --timeout 0 tests/protocol/test_properties.py tests/apigateway/registry/test_registry_interleaving.py tests/history/test_dynamodb.py tests/testing/soak_world.py tests/killing/test_killing.py $(ARGS)

bench: setup  ## every benchmark, as ratios in one run
	@$(BIN)/python -m benchmarks

wheel: .venv/.dev  ## build the wheel and the source archive into dist/
	@$(BIN)/python -m build

clean:  ## remove what the other commands made
	rm -rf .venv node_modules dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .serverless
