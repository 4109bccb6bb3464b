include pipeline.mk
.PHONY: setup test test-slow test-long test-all test-faults check docs screenshots bench bench-inference bench-photos bench-search bench-scarcity lock sbom

# The stamp's name holds the content of what it was made from, so that a second call costs one checksum.
STAMP := .venv/.installed-$(shell cat requirements.lock requirements.cuda.lock pyproject.toml | cksum | tr ' ' '-')

setup: $(STAMP)  ## create .venv with the exact versions of requirements.lock

# A module's tests stay in one process, where they share what is dear to make.
PYTEST = $(BIN)/pytest -n 2 --dist loadfile
test: setup  ## run the tests but the slow ones: about eight minutes
	$(PYTEST) -m "not slow and not fetch"

test-slow: setup  ## run the slow ones
	$(PYTEST) -m "slow and not long and not fetch"

test-long: setup  ## run those that take many minutes each, such as a month of a team
	$(PYTEST) -m "long and not fetch"

test-all: test test-slow test-long  ## run all tests

test-faults: setup  ## kill, fill and damage on purpose: FAULTS=300 (default 30) SEED=0
	FAULTS=$(or $(FAULTS),30) SEED=$(or $(SEED),0) $(BIN)/pytest -n 2 --dist worksteal tests/faults

docs: setup  ## build the documentation: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

check: docs  ## lint, types, import rules, dependencies, workflows, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/actionlint .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

screenshots: setup  ## take the pictures of report, MLflow and demo in docs anew; needs chromium and chromedriver
	$(BIN)/python docs/screenshots.py
	$(BIN)/python docs/screenshots_demo.py

bench: setup  ## measure, and write benchmarks/README.md: about two hours
	for name in startup decode roofline costs streaming growing augmentation inference time_to_accuracy accuracy_at_budget synthesis search label_errors suggest serve cluster scale; do $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-inference: setup  ## measure the exported files alone, against Keras and PyTorch: about five minutes
	$(BIN)/python benchmarks/inference.py

bench-photos: setup  ## measure photos alone, against peers that are installed once (14 GB): about half a day
	$(BIN)/python benchmarks/photos.py

bench-search: setup  ## measure the search alone, against Optuna's random search and its default: about forty minutes
	$(BIN)/python benchmarks/search.py

bench-scarcity: setup  ## measure what helps where labelled images are few, against Keras: about forty minutes
	$(BIN)/python benchmarks/scarcity.py
	$(BIN)/python benchmarks/transfer.py

# Whatever is installed has a digest in a lock, or pip refuses it. Of torch's builds pip would take one
# whose digest an index tells, and no CPU build that lies in a folder: hence first the choice, which
# runs no code, as pip makes it without digests.
TORCH := $(shell grep -o '^torch==[0-9.]*' requirements.lock)
NEEDS_CUDA = $(BIN)/python -c 'import importlib.metadata as m; exit(not any(r.startswith("nvidia-") for r in m.requires("torch")))'
$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "imagetrail needs Python 3.11 or newer, and $(PYTHON) is older; name another: make PYTHON=python3.12"; exit 1; }
	@echo "installing into .venv: a few minutes, once"
	@$(PYTHON) -m venv .venv
	@sed -n '/^torch==/,/[^\\]$$/p' requirements.lock > .venv/torch.txt
	@$(PIP) download --no-deps --only-binary :all: --dest .venv/torch $(TORCH)
	@$(PIP) install --no-deps --no-index --find-links .venv/torch --require-hashes -r .venv/torch.txt
	@rm -r .venv/torch .venv/torch.txt
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@if $(NEEDS_CUDA); then $(PIP) install --no-deps --require-hashes -r requirements.cuda.lock; fi
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f .venv/.installed-*
	@touch $@

lock:  ## write both locks from pyproject.toml; UPGRADE=--upgrade, BUILD=another wheel of torch
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install uv
	@cat requirements.lock requirements.cuda.lock > .lock.partial
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --extra dev $(UPGRADE) --output-file .lock.partial pyproject.toml
	@$(BIN)/python .ci/lock.py .lock.partial $(BUILD) && rm .lock.partial

sbom: setup  ## name every package of the locks in sbom.json (CycloneDX)
	cat requirements.lock requirements.cuda.lock | $(BIN)/cyclonedx-py requirements - --pyproject pyproject.toml --output-reproducible --output-file sbom.json
