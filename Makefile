# make lessons   executes every lesson and shows them as pages in build/lessons/
# make test      the library's tests, the form of the lessons, every cell of every lesson
# make help      the rest
#
# Each target sets up what it needs; the set-up is repeated only when requirements/ or pyproject.toml changed.
# Linux and macOS (make 3.81 or newer). All paths are relative, because the repository's own path may have a space.

BIN := .venv/bin
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$python" && break; done)

# Nothing is left in the home folder but caches. A user's own Keras folder is used, since MNIST may be in it,
# and so are a user's own settings of JupyterLab (but not to execute lessons: they must not depend on them).
BUILD := $(CURDIR)/build
export IPYTHONDIR := $(BUILD)/ipython
export JUPYTER_CONFIG_DIR := $(BUILD)/jupyter/config
export JUPYTER_DATA_DIR := $(BUILD)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(BUILD)/jupyter/runtime
export MPLCONFIGDIR := $(BUILD)/matplotlib
ifeq ($(KERAS_HOME)$(shell test -d "$$HOME/.keras" && echo yes),)
export KERAS_HOME := $(BUILD)/keras
endif

.PHONY: help lessons lab test test-colab assignments grade gradebook test-assignments mutants bench claims store site test-site explorer links lock clean

help:
	@echo "make lessons              execute every lesson, pages in build/lessons/"
	@echo "make lab                  open JupyterLab on the lessons"
	@echo "make test                 library, form of the lessons, every cell of every lesson (a part: TESTS=tests)"
	@echo "make test-colab           the lessons in an environment like Colab's"
	@echo "make assignments          make the assignments' release versions from their sources"
	@echo "make grade SUBMISSIONS=x  grade a folder or zip of notebooks (DUE=2026-01-31T23:59), pages in build/grades/"
	@echo "make gradebook            open JupyterLab to give points to written answers (ASSIGNMENT=linear)"
	@echo "make test-assignments     grade planted submissions, right, wrong and hostile"
	@echo "make mutants              plant faults in the library and see that its tests find them (MODULES=losses)"
	@echo "make bench                speed against a bare loop, Keras, PyTorch, pythae (one section: BENCH=scaling)"
	@echo "make claims               every claim under five seeds, on both data sets: value, bound, margin (hours; resumable)"
	@echo "make store LESSON=01      execute a lesson on full MNIST and store its outputs (all without LESSON=)"
	@echo "make site                 the course as a web site, from the stored lessons, in build/site/"
	@echo "make test-site            the site, and what its pages do in a real browser"
	@echo "make explorer             train the small models that the site's pages run"
	@echo "make links REPO=you/name  point badges, set-up cells and links to your repository"
	@echo "make lock                 renew requirements/ from pyproject.toml"
	@echo "make clean                remove the environments and what was built"

lessons: .venv/.stamp
	@$(BIN)/python -m tools.run_lessons

lab: .venv/.stamp
	@if test -d "$$HOME/.jupyter"; then JUPYTER_CONFIG_DIR="$$HOME/.jupyter"; fi; \
	  $(BIN)/python -m jupyterlab notebooks

test: .venv/.stamp
	@$(BIN)/python -c "from aelib.data import load_mnist; load_mnist()"
	@$(BIN)/python -m pytest -n 2 $(TESTS)

test-colab: .venv-colab/.stamp
	@.venv-colab/bin/python -m tools.colab

assignments: .venv/.stamp-grading
	@$(BIN)/python -m tools.assignments

grade: .venv/.stamp-grading
	@$(BIN)/python -m tools.grade "$(SUBMISSIONS)" due=$(DUE)

# The names of nbgrader's programs are looked up, and its settings import from this folder.
ASSIGNMENT := linear
gradebook: .venv/.stamp-grading
	@cd "build/grades/$(ASSIGNMENT)/course" && PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)" \
	  "$(CURDIR)/$(BIN)/python" -m jupyterlab

test-assignments: .venv/.stamp-grading
	@$(BIN)/python -m pytest assignments/tests

# Goes on where it was stopped.
mutants: .venv/.stamp-mutants
	@$(BIN)/python -m tools.mutants $(MODULES)

# The page is made from what there is, even if a measurement failed.
BENCH := step_time penalty_cost scaling lesson_time
bench: .venv/.stamp .venv-bench/.stamp
	@status=0; for name in $(BENCH); do $(BIN)/python -m benchmarks.$$name || status=1; done; \
	  $(BIN)/python -m benchmarks.page && exit $$status

claims: .venv/.stamp
	@$(BIN)/python -m tools.claims lesson=$(LESSON) seeds=$(SEEDS) data=$(DATA) times=$(TIMES)

store: .venv/.stamp
	@$(BIN)/python -m tools.store_outputs $(LESSON)

site: .venv/.stamp-site
	@$(BIN)/python -m tools.site.build

test-site: .venv/.stamp-site
	@$(BIN)/python -m tools.site.chromium
	@$(BIN)/python -m tools.site.build
	@$(BIN)/python -m pytest -n 2 --dist load tools/site/checks.py

explorer: .venv/.stamp
	@$(BIN)/python -m tools.site.explorer

links:
	@"$(PYTHON)" -m tools.links "$(REPO)"

# The pins that still fit are kept; to renew them all, delete requirements/*.txt first.
COMPILE := build/uv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate
LOCK := $(COMPILE) pyproject.toml --group dev
lock:
	@"$(PYTHON)" -m venv build/uv
	@build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOCK) --extra cpu -o requirements/cpu.txt
	$(LOCK) --extra gpu -o requirements/gpu.txt
	$(COMPILE) --group mutants --constraint requirements/cpu.txt -o requirements/mutants.txt
	$(COMPILE) --group site --constraint requirements/cpu.txt -o requirements/site.txt
	$(COMPILE) --group grading --constraint requirements/cpu.txt -o requirements/grading.txt

clean:
	rm -rf .venv .venv-colab .venv-bench build .pytest_cache .ruff_cache aelib.egg-info

.venv/.stamp-grading: .venv/.stamp requirements/grading.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/grading.txt
	@touch .venv/.stamp-grading

.venv/.stamp-mutants: .venv/.stamp requirements/mutants.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/mutants.txt
	@touch .venv/.stamp-mutants

.venv/.stamp-site: .venv/.stamp requirements/site.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/site.txt
	@touch .venv/.stamp-site

.venv-colab/.stamp: requirements/colab.txt
	@echo "Setting up .venv-colab (once, a few minutes)"
	@"$(PYTHON)" -m venv .venv-colab
	@.venv-colab/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/colab.txt
	@touch .venv-colab/.stamp

.venv-bench/.stamp: requirements/bench.txt
	@echo "Setting up .venv-bench with PyTorch (once, a few minutes)"
	@"$(PYTHON)" -m venv .venv-bench
	@if .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/bench.txt; \
	  then touch .venv-bench/.stamp; else rm -rf .venv-bench; echo "It failed: the benchmarks run without PyTorch."; fi

.venv/.stamp: requirements/cpu.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "Python 3.11, 3.12 or 3.13 is needed (TensorFlow has no build for a newer one yet)."; \
	  echo "If it has an unusual name: make PYTHON=/path/to/python ..."; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make environments. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Setting up .venv (once, a few minutes)"
	@"$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	  && $(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/cpu.txt \
	  || { echo "uv did not do it, now with pip"; \
	       $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/cpu.txt; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch .venv/.stamp
