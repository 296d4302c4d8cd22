# Each target does all its own set-up: a virtual environment in .venv with the tested versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/street_scenes
RUNS := tests/stages tests/pipeline tests/faults tests/benchmarks tests/journeys tests/report/test_site.py tests/report/test_front_page.py tests/engine/test_ray.py # whole runs, a browser, Ray
OLDEST := .venv-oldest

.PHONY: help install browser demo test unit runs lint audit test-oldest docs docker-check clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

install: $(VENV)/.installed ## make the virtual environment

$(VENV)/.installed: setup.py constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("lat needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install ## move labels between three drawn datasets, some minutes on two CPU cores
	$(BIN)/lat street-scenes $(DEMO)/data
	$(BIN)/lat run configs/street_scenes.yaml

test: lint unit runs ## lint, types and tests

browser: ## install Debian's chromium as root, for the tests of the report's page; they are skipped without it
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
		|| echo "no chromium here, and no way to install it: the tests of the report's page are skipped"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: install ## look all installed packages up in a database of known vulnerabilities; needs a network
	@$(BIN)/python -c 'import pip_audit' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	@$(BIN)/python tests/audit.py

unit: install ## the tests of single parts
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup $(RUNS:%=--ignore=%)

runs: install ## the tests of whole runs, of the report in a browser, and of Ray
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup $(RUNS)

test-oldest: $(OLDEST)/.installed ## the tests of single parts with the lowest versions that setup.py allows, in a virtual environment of their own
	OMP_NUM_THREADS=1 $(OLDEST)/bin/pytest -n 2 --dist loadgroup $(RUNS:%=--ignore=%)

$(OLDEST)/.installed: setup.py pyproject.toml tests/oldest_versions.py
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check 'setuptools>=70.1'
	$(OLDEST)/bin/python tests/oldest_versions.py > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(OLDEST)/constraints.txt -e '.[dev]'
	touch $@

docker-check: install ## do the pip steps of the image in a clean virtual environment, some minutes
	LAT_DOCKER_CHECK=1 $(BIN)/pytest tests/test_docker.py

docs: install ## the documentation as a site in runs/site
	$(BIN)/mkdocs build --strict

clean: ## delete the virtual environments, caches and runs
	rm -rf $(VENV) $(OLDEST) build *.egg-info .pytest_cache .mypy_cache .ruff_cache runs
