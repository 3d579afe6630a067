# The commands of a fresh machine: `make test-boot` and `make test`. Each installs what is missing.

SHELL := /bin/sh
.SHELLFLAGS := -euc
MAKEFLAGS += --no-builtin-rules --no-print-directory
.NOTPARALLEL:
.PHONY: help setup setup-tests venv test-boot test test-all lint check-types bench clean

RECIPE ?= guest/recipes/minimal.toml
OUT ?= out
# Machines on TCG take a processor each.
JOBS ?= $(shell n=$$(nproc); echo $$((n > 8 ? 8 : n)))
PYTEST = .venv/bin/python -m pytest -q -n $(JOBS) --dist worksteal

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

test-boot: setup venv  ## the main job: build RECIPE, boot it, judge it, register it (into OUT)
	@.venv/bin/imgforge run $(RECIPE) --out $(OUT)

test: setup-tests lint check-types  ## lint, types, and all tests but the slow ones
	@$(PYTEST) -m "not slow" tests

test-all: setup-tests lint check-types  ## the same with the slow matrices
	@$(PYTEST) tests

lint: setup venv
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet .

check-types: setup venv
	@.venv/bin/mypy --no-error-summary

bench: setup venv  ## measure against the bare programs (README, "Speed")
	@.venv/bin/python scripts/bench

setup:  ## install missing system packages (root or sudo; else says what to run)
	@scripts/setup

setup-tests:  ## the same, with the browser that some tests need
	@scripts/setup --tests

venv:  ## bring .venv to what requirements.lock says
	@scripts/venv

clean:  ## remove .venv, OUT and what the tools keep; not the cache in ~/.cache/imgforge
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build *.egg-info
	@rm -rf $(OUT)
	@find imgforge tests -name __pycache__ -type d -prune -exec rm -rf {} +
