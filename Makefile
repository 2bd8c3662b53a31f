# `make help` lists the targets; README.md has the commands without make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CLIPS ?= data/demo
FOLDS ?= 5
SEEDS ?= 2
export PATH := $(CURDIR)/.venv/bin:$(PATH)

repro: .venv/ready ## install into .venv, run the pipeline, print the metrics (the default target)
	@dvc repro
	@echo
	@dvc metrics show
	@echo "Models: models/. Curves and confusions: dvc plots show. All of it on one page, to open in a browser:"
	@echo "$(CURDIR)/metrics/report.html"

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{printf "make %-13s%s\n", $$1, $$2}'

test: .venv/ready ## run the fast tests
	@python -m pytest

test-slow: .venv/ready ## run the slow tests, and the torture tests in brief
	@python -m pytest -m "slow or torture"

torture: .venv/ready ## run the torture tests in full: kills, mutated clips, full disks
	@GLIMPSE_KILLS=20 GLIMPSE_MUTATIONS=500 python -m pytest -m torture -s

lint: .venv/ready ## check style, types and the layers of imports
	@ruff check && ruff format --check && mypy && lint-imports --no-cache

study: .venv/ready ## what order, motion and number of frames contribute: FOLDS=5 SEEDS=2
	@glimpse study --folds $(FOLDS) --seeds $(SEEDS)

label-issues: .venv/ready ## list clips whose label is probably wrong: FOLDS=5 SEEDS=2
	@pip install -q -r requirements-app.txt
	@glimpse label-issues --folds $(FOLDS) --seeds $(SEEDS)

app: .venv/ready ## open the web page, on this machine alone
	@pip install -q -r requirements-app.txt
	@glimpse app

export: .venv/ready ## write the models as ONNX
	@pip install -q -r requirements-app.txt
	@glimpse export

ablations: .venv/ready ## change one setting at a time and train: CLIPS=data/demo FOLDS=5
	@glimpse ablate $(CLIPS) --folds $(FOLDS)

bench: .venv/ready ## measure the speed of decoding and prediction: CLIPS=data/demo
	@pip install -q -r requirements-bench.txt
	@glimpse bench $(CLIPS)

# Linux and CUDA by default; for a CPU: make repro TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Without build isolation, pip uses the setuptools of requirements.txt and downloads nothing more.
.venv/ready: requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),.venv/bin/pip install --index-url $(TORCH_INDEX) $(shell grep -E '^torch(vision)?==' requirements.txt))
	.venv/bin/pip install -r requirements.txt
	.venv/bin/pip install --no-deps --no-build-isolation -e .
	touch $@

.PHONY: repro help test test-slow torture lint study label-issues app export ablations bench
