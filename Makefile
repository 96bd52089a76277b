# Verbs for people; each does what is missing and nothing else. `make help` lists them.
# LAB names the lab (default `lab`), NODES says how many virtual Pis it has (default 3).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL: # each step of `demo` needs the one before, whatever -j says

PYTHON ?= python3
LAB ?= lab
NODES ?= 3
export LAB NODES
VENV := .venv/bin
# The tools of this clone before those of the machine.
export PATH := $(CURDIR)/.build/bin:$(CURDIR)/$(VENV):$(PATH)

.PHONY: help setup demo lab provision doctor images stack prove test test-matrix lint bench bench-build bench-sizes bench-footprint pictures lock clean distclean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## prepare this machine: packages, an engine, .venv, tools
	@$(if $(READY),:,$(PYTHON) -m tools.setup)

demo: setup ## everything, on virtual Pis: lab, provision, images, stack, proof
	@$(MAKE) lab READY=1
	@$(MAKE) provision INVENTORY=lab/inventory.py READY=1
	@$(MAKE) images CONTEXT=$(LAB) READY=1
	@python -m image --context $(LAB) user set admin --generate --keep
	@$(MAKE) stack prove CONTEXT=$(LAB) READY=1
	@echo "You enter as admin. The password was shown once, when it was made, above or in an earlier run; a new one:" >&2
	@echo "  source .venv/bin/activate; python -m image --context $(LAB) user set admin && python -m image --context $(LAB) deploy" >&2

lab: setup ## start the virtual Pis
	@python -m lab up

# Your Pis unless the lab is asked for: make provision INVENTORY=lab/inventory.py
INVENTORY ?= inventory.py
provision: setup ## turn the Pis of inventory.py into a swarm
	@pyinfra -y $(INVENTORY) deploys/swarm.py

doctor: setup ## say what is wrong with the Pis, and change nothing (INVENTORY=…)
	@pyinfra $(INVENTORY) deploys/doctor.py || test $$? -eq 1 # make knows good and bad only: warnings are good

# The docker context that provisioning left; its name is the cluster's. Without it, docker's current one.
CONTEXT ?=
IMAGE = python -m image $(if $(CONTEXT),--context $(CONTEXT))
images: setup ## build the images and push them to the swarm's registry (CONTEXT=…)
	@$(IMAGE) build-all

stack: setup ## deploy the stack (CONTEXT=…)
	@$(IMAGE) deploy

prove: setup ## prove that the stack does what it should (CONTEXT=…)
	@$(IMAGE) prove

test: setup lint ## lint and all tests
	@pytest --numprocesses 2 --dist loadgroup # two labs at a time: most tests of a lab wait for it

test-matrix: setup ## build and start all images for all four platforms: half an hour when cold
	@pytest -m matrix

lint: setup ## ruff and mypy --strict
	@ruff check .
	@ruff format --check .
	@mypy --strict

bench: setup ## measure provisioning against its peers, and write bench/README.md: 25 minutes
	@python -m bench.provision --write

bench-build: setup ## measure building against its peers, and write bench/README.md: half an hour
	@python -m bench.build --rounds 2 --write

bench-sizes: setup ## measure programs on card and wire, and write bench/README.md: half an hour, once
	@python -m bench.sizes --write

bench-footprint: setup ## measure each service's memory, and write bench/README.md: an hour
	@python -m bench.footprint --write

pictures: setup ## make the pictures of README and docs/ with the tests' browser
	@python -m tests.pictures

lock: setup ## pin requirements.in and bench/requirements.in anew, with hashes
	@for file in requirements bench/requirements; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header $$file.in -o $$file.txt; done

# What was never set up has nothing to remove, so these two work without `setup`.
clean: ## remove the lab LAB: its nodes, keys and docker context
	@if [ -x $(VENV)/python ]; then python -m lab down; else echo "no .venv, so no lab of this clone: nothing to remove" >&2; fi

distclean: clean ## also remove .venv, .build, the node's image and the tools in your cache
	@if command -v docker >/dev/null; then docker images --quiet --filter label=pishelf.node | sort -u \
		| xargs --no-run-if-empty --max-args=1 docker rmi >/dev/null 2>&1 || echo "a node image stays: a lab uses it" >&2; fi
	@rm -rf .venv .build "$${XDG_CACHE_HOME:-$$HOME/.cache}/pishelf" .mypy_cache .ruff_cache .pytest_cache .hypothesis
