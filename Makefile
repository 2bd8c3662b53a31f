# make repro: environment, pipeline, metrics.  make test: environment, test suite.  README.md has the same without make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CLIPS ?= data/demo
FOLDS ?= 5
export PATH := $(CURDIR)/.venv/bin:$(PATH)

repro: .venv/ready
	@dvc repro
	@echo
	@dvc metrics show
	@echo "Models: models/. Curves and confusions: dvc plots show. All of it on one page, to open in a browser:"
	@echo "$(CURDIR)/metrics/report.html"

test: .venv/ready
	@python -m pytest

test-slow: .venv/ready
	@python -m pytest -m "slow or torture"

torture: .venv/ready
	@GLIMPSE_KILLS=20 GLIMPSE_MUTATIONS=500 python -m pytest -m torture -s

lint: .venv/ready
	@ruff check && ruff format --check && mypy

study: .venv/ready
	@dvc repro metrics/dvc.yaml:study

doubts: .venv/ready
	@dvc repro metrics/dvc.yaml:doubts

app: .venv/ready
	@pip install -q -r requirements-app.txt
	@python src/app.py

export: .venv/ready
	@pip install -q -r requirements-app.txt
	@dvc repro models/dvc.yaml:export

ablations: .venv/ready
	@python src/ablate.py $(CLIPS) --folds $(FOLDS)

bench: .venv/ready
	@pip install -q -r requirements-bench.txt
	@python src/bench.py $(CLIPS)
	@python src/latency.py

# Linux and CUDA by default; for a CPU: make repro TORCH_INDEX=https://download.pytorch.org/whl/cpu
.venv/ready: requirements.txt constraints.txt
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),.venv/bin/pip install --index-url $(TORCH_INDEX) $(shell grep -E '^torch(vision)?==' requirements.txt))
	.venv/bin/pip install -r requirements.txt
	touch $@

.PHONY: repro test test-slow torture lint study doubts app export ablations bench
