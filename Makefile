# Needs Python 3.11+, make and apt; everything else is installed into .venv, or as Debian packages where root or sudo allows.
PYTHON ?= python3
# One environment for each interpreter: .venv, or .venv-3.12 for PYTHON=python3.12.
VENV ?= .venv$(patsubst python3.%,-3.%,$(filter python3.%,$(PYTHON)))
# pyenv hides the interpreters that are not its active one.
INTERPRETER = $(shell $(PYTHON) -c '' 2>/dev/null && echo $(PYTHON) \
  || PYENV_VERSION=$$(pyenv latest $(PYTHON:python%=%) 2>/dev/null) pyenv which $(PYTHON) 2>/dev/null || echo $(PYTHON))
# Most tests wait for servers: at least four at once, on two cores too.
WORKERS ?= $(shell n=$$(nproc); echo $$((n > 4 ? n : 4)))
ARGS ?=
DATA ?= ../shared/quality
IMAGE_ARGS ?=
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' exporter/__init__.py)

BIN := $(VENV)/bin
# uv ignores pip's settings: hand it the folders of wheels that pip was told of.
UV := export UV_FIND_LINKS=$$({ echo $$PIP_FIND_LINKS; $(BIN)/python -m pip config get global.find-links; } 2>/dev/null \
  | xargs | tr ' ' ',');
# uv draws its own progress on a terminal only.
PROGRESS := $(shell [ -t 2 ] || echo .ci/beat uv)

.DEFAULT_GOAL := help
.PHONY: version help demo test lint coverage audit sbom docs docs-serve build rules chart image bench bench-rules bench-warm-up bench-growth bench-spread quality fleet context fuzz soak load kills other-python servers \
  browser kubectl airflow rivals constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Variables: PYTHON=python3.12 (another interpreter, in .venv-3.12), ARGS="--for 2m" (demo, pytest), WORKERS=4 (pytest)'

demo: $(VENV)/ready servers ## see a fault found, alerted and resolved on real servers (ARGS="--for 2m" ends by itself)
	@$(BIN)/anomaly-exporter demo $(ARGS)

# Real servers on a busy machine: a test that fails is tried once more. One that needs it is listed as RERUN, and is a fault to mend.
SECOND_TRY = --reruns 1 -rR
DOCTESTS = $(BIN)/python -m pytest --quiet --doctest-modules detectors exporter rules tests/support
test: lint servers browser kubectl airflow ## lint, then doctests and all tests
	$(DOCTESTS)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(SECOND_TRY) $(ARGS)

lint: $(VENV)/ready ## ruff, codespell, zizmor and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/zizmor --offline --quiet .github
	@# Types are checked for the oldest Python alone: the stubs of numpy differ by interpreter, and only that one has torch.
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then .ci/beat "mypy --strict" $(BIN)/mypy; fi

coverage: $(VENV)/ready servers browser kubectl airflow ## all tests with the coverage of each file; fails below the floor in pyproject.toml
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report term:skip-covered $(ARGS)

audit: .venv-audit/ready ## known vulnerabilities in the pinned dependencies (asks the package index)
	@grep -v '^torch==' constraints.txt > .venv-audit/pinned.txt
	.venv-audit/bin/pip-audit --requirement .venv-audit/pinned.txt --no-deps --disable-pip --strict --progress-spinner off $(ARGS) \
	  || { echo 'make audit: see above. A vulnerability: raise its pin in constraints.txt. No answer from the package index: nothing was checked;' \
	    'the pipeline runs the same check.'; exit 1; }

IMAGE_EXTRAS = aws dask gcp kubernetes mcp oauth2 otel plot push river s3
sbom: .venv-audit/ready ## what the image without torch holds of Python packages, as CycloneDX, in dist/
	@mkdir -p dist
	@$(UV) $(BIN)/uv pip compile pyproject.toml $(IMAGE_EXTRAS:%=--extra %) --constraint constraints.txt --quiet \
	  --no-annotate --no-header --output-file .venv-audit/wheel.txt
	.venv-audit/bin/cyclonedx-py requirements .venv-audit/wheel.txt --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/anomaly-exporter-$(VERSION).cdx.json

docs: .venv-docs/ready ## the documentation as a site, in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --site-dir build/site

docs-serve: .venv-docs/ready ## the same on http://127.0.0.1:8000, built again after each change
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs serve

version: $(VENV)/ready ## VERSION=0.2.0: write a version where it is kept, and the files that are generated from it
	@echo '$(VERSION)' | grep -Eqx '[0-9]+\.[0-9]+\.[0-9]+' || { echo 'make version VERSION=0.2.0: three numbers with dots'; exit 1; }
	@sed -i 's/^__version__ = .*/__version__ = "$(VERSION)"/' exporter/__init__.py
	@$(BIN)/python -m deploy.generate

build: $(VENV)/ready ## the wheel, in dist/
	@$(UV) $(BIN)/uv build --wheel --build-constraints constraints.txt --out-dir dist

rules: $(VENV)/ready servers ## generate the rules of the examples, check them with promtool and amtool
	@BIN=$(BIN) .ci/rules examples/anomaly.yml@dev examples/anomaly.yml@stage examples/anomaly.yml@prod examples/alerting.yml \
	  deploy/compose/config/anomaly.yml

chart: $(VENV)/ready ## check that what is generated for Kubernetes is up to date; the Helm chart, in dist/
	$(BIN)/python -m deploy.generate --check
	$(BIN)/python -m deploy.pack_chart dist

IMAGE = docker build --file deploy/docker/Dockerfile --build-arg VERSION=$(VERSION) \
  --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) $(IMAGE_ARGS)
image: ## both images, without and with torch (needs Docker; IMAGE_ARGS="--build-arg EXTRAS=s3")
	$(IMAGE) --tag anomaly-exporter --tag anomaly-exporter:$(VERSION) .
	$(IMAGE) --target torch --tag anomaly-exporter:torch --tag anomaly-exporter:$(VERSION)-torch .

bench: $(VENV)/ready servers ## speed and memory beside other ways, at 1,000 to 100,000 series (5 to 10 minutes)
	$(BIN)/python -m tests.bench $(ARGS)

bench-rules: $(VENV)/ready servers ## CPU of the exporter beside that of recording rules (about 8 minutes)
	$(BIN)/python -m tests.bench.rules $(ARGS)

bench-warm-up: $(VENV)/ready servers ## a first start with a long history (2 minutes; ARGS="--minutes 20160": two weeks of 10,000 series)
	$(BIN)/python -m tests.bench.warm_up $(ARGS)

bench-growth: $(VENV)/ready ## how a cycle grows with series, window, channels and gauges, docs/images/growth.png (about 8 minutes)
	$(BIN)/python -m tests.bench.growth $(ARGS)

bench-spread: $(VENV)/ready ## training and backtest of 10,000 entities in one process, in two, on a Dask cluster (about 8 minutes)
	$(BIN)/python -m tests.bench.spread $(ARGS)

quality: $(VENV)/ready rivals ## every detector and its rivals, compared in docs/detectors.md (20 minutes; DATA=folder with evaluate.py and data/)
	$(BIN)/python -m tests.quality $(DATA) $(ARGS)

context: $(VENV)/ready ## rollouts, limits, failing racks and companions, figures in docs/context.md (an hour)
	$(BIN)/python -m tests.context $(ARGS)
	$(BIN)/python -m tests.context.together

fuzz: $(VENV)/ready .venv-fuzz/ready ## every parser, four minutes each: an hour of one core (ARGS="--seconds 3600 answers")
	$(BIN)/python -m tests.fuzz $(ARGS)

soak: $(VENV)/ready ## a day of operation in 24 minutes, with churn, reloads and kills (ARGS="--cycles 200")
	$(BIN)/python -m tests.soak $(ARGS)

kills: $(VENV)/ready ## 500 kills in writes of everything kept, every byte of it changed (5 minutes)
	$(BIN)/python -m tests.soak.kills $(ARGS)

other-python: $(VENV)/ready ## what another Python makes of our models and state
	@$(MAKE) --no-print-directory PYTHON=python3.12 .venv-3.12/ready
	$(BIN)/python -m tests.soak.versions .venv-3.12/bin/python

load: $(VENV)/ready ## 50 scrapers, 1,000 slow clients and 1,000 reloads (13 minutes; ARGS="--reloads 100 --reload-seconds 60")
	$(BIN)/python -m tests.soak.load $(ARGS)

fleet: $(VENV)/ready ## the alerts of 10 to 10,000 series in six weeks with failures (40 minutes, one core)
	$(BIN)/python -m tests.fleet $(ARGS)

servers: $(VENV)/ready
	@missing=$$($(BIN)/python -m deploy.demo.missing) && { [ -z "$$missing" ] || .ci/packages $$missing; }

browser: # for the tests of the reports, which are skipped where there is none
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null \
	  || .ci/packages chromium \
	  || echo 'No browser to be had here: the tests of reports in a browser are skipped.'

kubectl: # for the tests of the manifests, which are skipped where there is none
	@command -v kubectl >/dev/null || .ci/packages kubernetes-client \
	  || echo 'No kubectl to be had here: the tests of the manifests with it are skipped.'

airflow: # an environment of its own, for the tests of the DAG, which are skipped where it cannot be made
	@$(MAKE) --no-print-directory .venv-airflow/ready \
	  || echo 'No Airflow to be had here: the tests of the DAG are skipped.'

rivals: # packages that the detectors are compared with; the rows of what cannot be had keep what stands there
	@$(MAKE) --no-print-directory .venv-rivals/ready \
	  || echo 'The packages of the rivals are not to be had here: their rows are not measured.'

PINNED = dev airflow audit docs fuzz
constraints: $(VENV)/ready ## pin the newest versions of everything
	@$(UV) printf 'hatchling\nuv\n' | $(BIN)/uv pip compile pyproject.toml - --all-extras $(PINNED:%=--group %) --upgrade \
	  --universal --python-version 3.11 --no-annotate --no-header --output-file constraints.txt
	@# torch alone says which of its builds brings CUDA: pin neither the build found here nor what it needs.
	@sed -i -e '/^nvidia-/d;/^cuda-/d;/^triton/d' -e 's/^torch==.*/torch==2.13.0/' constraints.txt

clean: ## remove the environment and the caches
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

$(VENV)/ready: pyproject.toml constraints.txt
	@$(INTERPRETER) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name it with PYTHON=…, for example make PYTHON=python3.12"; exit 1; }
	@$(INTERPRETER) -c 'import ensurepip, venv' 2>/dev/null \
	  || .ci/packages $$($(INTERPRETER) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	@.ci/beat "making $(VENV)" $(INTERPRETER) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt uv
	@$(UV) $(PROGRESS) $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt \
	  --build-constraint constraints.txt --group dev --editable '.[otel]'
	@touch $@

# An environment with one dependency group alone: airflow, audit, docs.
.venv-%/ready: constraints.txt | $(VENV)/ready
	@.ci/beat "making .venv-$*" $(INTERPRETER) -m venv --clear --without-pip .venv-$*
	@$(UV) $(PROGRESS) $(BIN)/uv pip install --python .venv-$*/bin/python --constraint constraints.txt \
	  --build-constraint constraints.txt --group $*
	@touch $@

# Beside the environment: the fuzzer looks into our code as it is installed there.
.venv-fuzz/ready: constraints.txt | $(VENV)/ready
	@$(UV) $(PROGRESS) $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --no-deps --target .venv-fuzz \
	  --group fuzz
	@touch $@

# No environment but a folder of packages, which `make quality` alone puts on its path. They come without what they depend on:
# tsb-ad pins versions years old, and names a dozen packages that the two methods used here do without.
RIVALS = tsb-ad==1.5 tsanomaly==0.4.1 statsmodels==0.15.0 arch==8.0.0 hurst==0.0.5 patsy==1.0.3
.venv-rivals/ready: Makefile | $(VENV)/ready
	@$(UV) $(PROGRESS) $(BIN)/uv pip install --python $(BIN)/python --no-deps --target .venv-rivals $(RIVALS)
	@touch $@
