# All tasks of the project, as `make NAME`; `make` alone lists them. The first task that you run builds an environment in
# .venv. Only test-slurm and test-hosts, which need root, change anything outside this folder.

VENV := .venv
PY := $(VENV)/bin/python
# This file exists only when the environment is complete.
READY := $(VENV)/ready
# The first of these that runs, and that the pinned packages support, builds the environment.
PYTHONS := python3.11 python3 python3.12 python3.13 python3.10 python

.PHONY: help demo test test-app test-slurm test-hosts lint bench docs body bundled study clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## Fine-tune, separate and score, with the results in demo/ (BACH10=FOLDER: on the recorded Bach10)
	$(PY) -m recipes.demo $(if $(BACH10),--out demo/bach10 --bach10 "$(BACH10)",--out demo)

# Tests of one file run in one process, so that slow fixtures are built once.
test: $(READY) ## Run the tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

test-app: $(READY) ## Try the page of `nussl-transfer app` in headless Chromium (needs chromium and chromedriver)
	$(PY) tests/browser/app_in_chromium.py

test-slurm: $(READY) ## Run the smoke study through a SLURM cluster of one node (root; installs system packages)
	tests/cluster/slurm.sh $(PY)

test-hosts: $(READY) ## Train on two hosts in network namespaces (root)
	tests/cluster/hosts.sh $(PY)

lint: $(READY) ## Check the style and the types of the code
	$(PY) -m ruff check .
	$(PY) -m mypy

bench: $(READY) ## Measure speed and memory, and compare them with nussl's
	for script in benchmarks/[a-z]*.py; do echo "== $$script" && $(PY) "$$script" || exit 1; done

docs: $(READY) ## Build the documentation in docs/_build/html
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

body: $(READY) ## Pretrain the shipped model `body` again, in hours; resumes when stopped (SAMPLES=FOLDER of recorded notes)
	$(PY) -m recipes.body all $(if $(SAMPLES),--samples "$(SAMPLES)")

bundled: $(READY) ## Fine-tune the shipped separators again, in an hour or two
	$(PY) -m recipes.bundled --model quartet $(if $(SAMPLES),--samples "$(SAMPLES)")
	$(PY) -m recipes.bundled --model choir
	$(PY) -m recipes.bundled --model drums

SIZE := small
JOBS := all
# Pretraining and downstream sets to run; empty: all. SETS=bach10,choir runs without Remixpacks.
SETS :=
# Folders of the data sets: {"Slakh": "/data/slakh2100_flac_redux", ...}. BACH10=FOLDER adds the recorded Bach10 to size small.
FOLDERS := {$(if $(BACH10),"bach10_recorded": "$(BACH10)")}
study: $(READY) ## Make the paper's tables and figures in study/SIZE (SIZE=smoke, small, medium or paper; SETS=bach10,choir; JOBS=2; DRY=-n lists the jobs)
	$(PY) -m snakemake -s recipes/Snakefile --profile recipes/profiles/local --cores $(JOBS) $(DRY) \
	  --config size=$(SIZE) 'folders=$(FOLDERS)' $(if $(SETS),sets=$(SETS))

clean: ## Remove everything that make built: .venv, demo/, documentation, caches
	rm -rf $(VENV) demo docs/_build docs/_tutorial build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The pinned packages, then this package in editable mode. The second pip line adds the libraries that torch's build for
# NVIDIA GPUs needs, where pip chose that build.
$(READY): requirements.txt setup.cfg
	@echo "Building the environment $(VENV): a few minutes, once"
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "No Python 3.10 to 3.13 found as $(PYTHONS). Install Python 3.11 and try again." >&2; exit 1
	$(PY) -m pip install --no-deps --no-compile -r requirements.txt
	$(PY) -m pip install --no-compile "$$(grep '^torch==' requirements.txt)"
	$(PY) -m pip install --no-deps --no-build-isolation --quiet -e .
	@touch $(READY)
