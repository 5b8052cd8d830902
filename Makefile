# Everything that one does here, as `make NAME`. `make` alone lists the names.
# The first of them makes .venv, an environment of its own; nothing outside this folder is changed.

VENV := .venv
PY := $(VENV)/bin/python
# Made when the environment is whole, so that half of one is not taken for it.
READY := $(VENV)/ready
# The first of these that runs, and that the pinned list is made for, makes it.
PYTHONS := python3.11 python3 python3.12 python3.13 python3.10 python

.PHONY: help demo test lint bench docs body bundled study clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## The main job, from stems to a page of results in demo/ (BACH10=FOLDER: on the real Bach10)
	$(PY) -m recipes.demo $(if $(BACH10),--out demo/bach10 --bach10 "$(BACH10)",--out demo)

# The tests of a file in one process: what they share, the study for one, is made once.
test: $(READY) ## The tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

lint: $(READY) ## The style of the code, by ruff
	$(PY) -m ruff check .

bench: $(READY) ## Each claim of speed or memory: ours beside nussl's, in one run
	for script in benchmarks/[a-z]*.py; do echo "== $$script" && $(PY) "$$script" || exit 1; done

docs: $(READY) ## The documentation, into docs/_build/html
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

body: $(READY) ## The pretrained body that ships with the package, made again: hours, and it can be stopped and resumed
	$(PY) -m recipes.body all

bundled: $(READY) ## The separators that ship with the package, made again from the body: an hour or two
	$(PY) -m recipes.bundled --model quartet
	$(PY) -m recipes.bundled --model choir

SIZE := small
JOBS := all
# Where the data sets lie, {"Slakh": "/data/slakh2100_flac_redux", ...}; BACH10, for size small: the recorded one, too.
FOLDERS := {$(if $(BACH10),"bach10_recorded": "$(BACH10)")}
study: $(READY) ## The paper's tables and figures, in study/$(SIZE): SIZE=smoke, small or paper, JOBS=2 at once, DRY=-n to ask
	$(PY) -m snakemake -s recipes/Snakefile --profile recipes/profiles/local --cores $(JOBS) $(DRY) \
	  --config size=$(SIZE) 'folders=$(FOLDERS)'

clean: ## Takes away what make made: .venv, demo/, built documentation, caches
	rm -rf $(VENV) demo docs/_build build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The pinned list, and then this package, for editing. Where pip took torch's build for NVIDIA GPUs, the third line
# adds the libraries that this build, and only it, asks for.
$(READY): requirements.txt setup.cfg
	@echo "Making the environment $(VENV): some minutes, once"
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "Asked for Python 3.10 to 3.13; found none as $(PYTHONS). Install Python 3.11 and try again." >&2; exit 1
	$(PY) -m pip install --no-deps --no-compile -r requirements.txt
	$(PY) -m pip install --no-compile "$$(grep '^torch==' requirements.txt)"
	$(PY) -m pip install --no-deps --no-build-isolation --quiet -e .
	@touch $(READY)
