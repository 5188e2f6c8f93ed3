# Set-up is automatic: `make demo` only needs python3.11 (or 3.12) with venv, make and git.
#   make demo    train StarGAN and hier_seg on rendered faces and write report/index.html (minutes on two cores)
#   make demo-all  the same with every system of `systems` in params.yaml, and their table in README.md
#   make photographs  train StarGAN on real photographs at scale laptop (about an hour on two cores) and show its edits
#   make check   formats, types, linters and the quick tests: for every day, in three minutes on two cores
#   make test    the same with all tests: before a change is shared, in eight minutes on two cores
#   make test-services  an MLflow server with PostgreSQL, a DVC remote on S3, processes that are killed: minutes
#   make test-slurm  the workflow on a Slurm cluster on this machine: minutes
#   make lint    the same without the tests
#   make docs    the documentation as a site, in build/site (installs the extra `docs`, 120 MB, where it is missing)
#   make coverage  how much of the package the quick tests run; fails below the floor in pyproject.toml
#   make mutation  put small faults into methods, components and guides: do the tests see them? (an hour or more)
#   make soak    kill whole workflows and try broken inputs: does all end as undisturbed? (hours)
#   make bench   measure training steps and the input pipeline
#   make gpu-check  on a GPU: run its tests, time steps, train and evaluate, in 8 minutes; without a GPU it only says so
#   make smoke   everything of the demo in small, and Snakemake's own report of it, smoke.zip
#   make wheel   build dist/mimik-<version>-py3-none-any.whl, which holds the workflow and the settings, too
#   make wheel-check  install that wheel into an empty environment, make a project and train there (minutes)
#   make lock    write requirements.lock from the installed packages
#   make clean   remove everything that was made here (not data/raw, not the virtual environment)
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
CORES ?= $(shell nproc)
INSTALLED := $(VENV)/installed.sha256
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Jobs and tests start many programs that import the same modules: Python is to keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-all photographs check test quick-tests all-tests test-services test-slurm lint docs coverage mutation \
  soak bench gpu-check smoke wheel wheel-check lock clean

help:
	@sed -n '2,20s/^# \{0,3\}//p' Makefile

# Of what pip says: its large files, and how far it has come.
define PIP_PROGRESS
/^(Collecting|Processing) / && ++seen % 25 == 0 { print "  " seen " of " all " packages"; fflush() }
/Downloading .*\(([2-9][0-9]|[0-9][0-9][0-9]+)\.[0-9] MB\)|Downloading .* GB\)/ { print "  " $$2 " " $$3 " " $$4; fflush() }
/^Installing collected packages/ { print "  All are here. Unpacking takes a minute or two."; fflush() }
endef
export PIP_PROGRESS

# Installs again only when the pinned packages or the package's own entry points have changed. The last import compiles
# loops over pixels, which takes ten seconds, once instead of in every process that needs them first.
$(INSTALLED): requirements.lock pyproject.toml
	@if [ -f $@ ] && sha256sum --status --check $@; then touch $@; exit 0; fi; \
	python=$$(command -v python3.11 || command -v python3.12) || { \
	  echo "mimik needs python3.11 or python3.12; on Debian: apt install python3.11-venv" >&2; exit 1; }; \
	all=$$(grep -c '^[^#]' requirements.lock); \
	if [ -x $(VENV)/bin/python ]; then echo "Comparing $(VENV) with the $$all packages of requirements.lock."; else \
	  "$$python" -m venv $(VENV) || { \
	    echo "python cannot make a virtual environment; on Debian: apt install python3.11-venv" >&2; exit 1; }; \
	  echo "Installing $$all packages, pinned in requirements.lock, into $(VENV); nothing outside this folder changes."; \
	  echo "About 0.8 GB to download and 3 GB of disk space, more where pip brings CUDA with torch; 3 to 10 minutes, once."; \
	fi; \
	PYTHONUNBUFFERED=1 python -m pip install --progress-bar off -r requirements.lock | awk -v all="$$all" "$$PIP_PROGRESS"; \
	python -m pip install --quiet --no-deps --no-build-isolation -e .; \
	python -c "import cv2" 2>/dev/null || { \
	  echo "OpenCV needs graphics libraries that this system lacks; installing its headless build instead."; \
	  python -m pip install --quiet --no-deps opencv-contrib-python-headless==4.11.0.86; python -c "import cv2"; }; \
	python -c "import mimik.faces.compiled"; \
	sha256sum requirements.lock pyproject.toml > $@

# `python -m` and this folder's code, because the scripts and paths of the virtual environment contain the path where
# they were installed: wrong in a project that has been moved, and broken if that path contains a quote.
demo demo-all photographs: export PYTHONPATH := $(CURDIR)/src

# Without Snakemake's banner and its reasons for every job. `--quiet` takes every word after it, so another option follows.
SNAKEMAKE := python -m snakemake --quiet host reason --cores $(CORES)

# Snakemake records what it made in DVC; a run with nothing to make does not.
demo: $(INSTALLED)
	@echo "StarGAN and hier_seg on rendered faces: about ten minutes on two cores. Ctrl-C stops it; the same command goes on."
	@echo "A training says every 20 seconds how far it is. All output of every job is in logs/."
	$(SNAKEMAKE)
	@python -m mimik.cli dvc || true
	@echo
	@echo "Done. Open report/index.html; every run is in MLflow: mlflow ui --backend-store-uri sqlite:///mlflow.db"

# The report is made last, when everything exists: it compares what it finds.
demo-all: $(INSTALLED)
	$(SNAKEMAKE) systems
	$(SNAKEMAKE) report/index.html
	python -m mimik.cli compare --readme README.md
	@python -m mimik.cli dvc || true
	@echo
	@echo "Done. Open report/index.html."

# The photographs are fetched, or taken from the folder in MIMIK_MIRROR.
photographs: $(INSTALLED)
	$(SNAKEMAKE) results/open_faces/stargan/report.html --config scale=laptop
	@python -m mimik.cli dvc || true
	@echo
	@echo "Done. Open results/open_faces/stargan/report.html; edit a photograph of your own with"
	@echo "  $(VENV)/bin/mimik edit PHOTOGRAPH --to happiness --model results/open_faces/stargan -o happy.png"

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check --line-length 110 Snakefile workflow/Snakefile workflow/rules
	snakemake --lint
	python -m mimik.cli params
	@if $(HAS_DOCS); then $(BUILD_DOCS); else echo "The site was not built: make docs installs what it takes."; fi

# A warning is an error: a link without a target, a page that no menu names, an argument that is documented and not there.
HAS_DOCS := python -c "import latex2mathml, material, mkdocs, mkdocstrings_handlers.python" 2>/dev/null
BUILD_DOCS := NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

docs: $(INSTALLED)
	@$(HAS_DOCS) || { echo "Installing the extra docs of pyproject.toml."; python -m pip install --quiet -e '.[docs]'; }
	$(BUILD_DOCS)
	@echo "Done. Open build/site/index.html; to search in it, serve it: python -m http.server -d build/site"

# The tests of a file stay with one worker, which keeps what they share; tests/conftest.py says in which order.
PYTEST := python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# The linters beside the tests: they keep busy a core that would wait for the other one.
check: $(INSTALLED)
	$(MAKE) --no-print-directory -j 2 lint quick-tests

test: $(INSTALLED)
	$(MAKE) --no-print-directory -j 2 lint all-tests

quick-tests: $(INSTALLED)
	$(PYTEST) -m "not slow" --durations=10

all-tests: $(INSTALLED)
	$(PYTEST) -m "not service" --durations=10

# Tests that start servers of their own, on this machine's loopback only: docs/services.md. What they need is installed,
# Python's packages into the virtual environment (before `make lock`, make a new one).
# Without dependencies, all of which are there: it asks for NumPy 2, but uses it only for a report that nobody asks for,
# and mediapipe cannot run with it.
SLURM_PLUGIN := snakemake-executor-plugin-slurm==2.8.0 snakemake-executor-plugin-slurm-jobstep==0.6.1 throttler==1.2.3

test-services: $(INSTALLED)
	$(call debian,/usr/lib/postgresql/*/bin/postgres,postgresql)
	python -m pip install --quiet --no-build-isolation -c requirements.lock -e '.[services]'
	python -m pytest -m service -rs --ignore=tests/services/test_slurm.py

test-slurm: $(INSTALLED)
	$(call debian,/usr/sbin/slurmctld,slurm-wlm munge)
	python -m pip install --quiet --no-deps $(SLURM_PLUGIN)
	python -m pytest -m service -rs tests/services/test_slurm.py

# Packages of Debian, where a file of theirs is missing. Only root may install them, and nobody is asked for a password.
define debian
	@ls $(1) >/dev/null 2>&1 || command -v $(notdir $(1)) >/dev/null || { [ "$$(id -u)" = 0 ] || { \
	  echo "$(2) is not installed, and only root can install it: apt-get install $(2), then run this again." >&2; exit 1; }; \
	  apt-get install --yes --no-install-recommends $(2); }
endef

# Of the quick tests, as counting lines makes tests slower. The least covered files are shown.
coverage: $(INSTALLED)
	$(PYTEST) -m "not slow" --cov --cov-report=
	python -m coverage report --sort=cover --fail-under=0 | sed -n '1,12p'
	python -m coverage report --format=total

# In this folder's code; the page that it writes is docs/mutation.md.
mutation: export PYTHONPATH := $(CURDIR)/src
mutation: $(INSTALLED)
	nice -n 10 python -m tests.mutation --write $(MUTATION_OPTIONS)

# In this folder's code; the last result stands in docs/reliability.md.
soak: export PYTHONPATH := $(CURDIR)/src
soak: $(INSTALLED)
	nice -n 10 python -m tests.soak --write $(SOAK_OPTIONS)

bench: $(INSTALLED)
	python -m benchmarks

# Installs nothing: a machine with a GPU often has its own torch, and no network.
GPU_PYTHON ?= $(if $(wildcard $(INSTALLED)),$(VENV)/bin/python,python3)
gpu-check:
	$(GPU_PYTHON) benchmarks/gpu.py $(GPU_OPTIONS)

# The report is of the same settings as the run.
smoke: $(INSTALLED)
	python -m snakemake --cores $(CORES) --config scale=smoke
	python -m snakemake --report smoke.zip --config scale=smoke

wheel: $(INSTALLED)
	rm -rf build/lib build/bdist.* dist/*.whl
	python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls -l dist/*.whl

wheel-check: wheel
	MIMIK_WHEEL=$$(echo $(CURDIR)/dist/*.whl) python -m pytest -rA tests/settings/test_shipped.py -k installed

lock:
	{ sed -n '/^#/p' requirements.lock; \
	  python -m pip freeze --all | grep -viE '^(-e|#|pip==)' | sed 's/+cpu//' | sort -f; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:
	rm -rf data/prepared data/pretrained data/settings results report checkpoints logs .snakemake mlflow.db* mlruns mlartifacts
