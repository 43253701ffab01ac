# pinfleet. Every target does all the set-up that it needs; the only needs are Python >= 3.11 and make.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export PYTHONPATH := hack/cluster

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## everything that the other targets need, in .venv (once; again when the lock changes)
	@$(PYTHON) hack/install.py

demo: install ## a real Kubernetes, the operator, and the story of one upgrade; KEEP=1 leaves it up
	@$(RUN) hack/demo.py

down: install ## end what KEEP=1 left
	@$(RUN) hack/demo.py --down

test: install check verify ## all tests, on a real API server; a skipped test fails
	@$(RUN) -m pytest -n 2 --dist loadgroup

e2e: install ## the story with real pods: as root on this machine, or CLUSTER=kind, or CLUSTER=current
	@$(RUN) hack/e2e.py $(E2E)

images: install ## the container images, by buildah, into the user's cache
	@$(RUN) hack/images.py

check: install ## lint, types, import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

generate: install ## write crds/ and the chart's copies from the models
	@$(RUN) hack/generate.py

verify: install ## fail if what is generated differs from its source
	@$(RUN) hack/generate.py --check

lock: install ## write requirements.lock from the two pyproject.toml files
	@$(RUN) hack/lock.py

bench: install ## first figures on a real API server, into bench/out; BENCH_RUNS=500 BENCH_PAIRS=1 is a quick look
	@PYTHONPATH=hack/cluster:. $(RUN) -m bench $(BENCH)

faults: install ## every fault plan on a real API server, under an hour; PLAN=NAME replays one, DONE=FILE goes on
	@PYTHONPATH=hack/cluster:. $(RUN) -m tests.faults

kills: install ## a real SIGKILL on both sides of every commit, on SQLite and on PostgreSQL; three minutes
	@KILLS=all $(RUN) -m pytest tests/unit/sdk/test_for_real.py -s --durations=0

soak: install ## random schedules in the simulator; FIRST=0 COUNT=10000, and each rule's control within 1,000 of them
	@$(RUN) -m tests.sim $(or $(FIRST),0) $(or $(COUNT),10000)
	@$(RUN) -m tests.sim.controls

.PHONY: help install demo down test e2e images check generate verify lock bench faults kills soak
