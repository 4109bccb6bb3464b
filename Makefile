include pipeline.mk
.PHONY: setup test test-all test-faults check docs screenshots bench bench-inference bench-photos bench-search bench-scarcity lock

# The stamp's name holds the content of what it was made from, so that a second call costs one checksum.
STAMP := .venv/.installed-$(shell cat requirements.lock pyproject.toml | cksum | tr ' ' '-')

setup: $(STAMP)  ## create .venv with the exact versions of requirements.lock

# A module's tests stay in one process, where they share what is dear to make.
PYTEST = $(BIN)/pytest -n 2 --dist loadfile
test: setup  ## run the tests but the slow ones: about eight minutes
	$(PYTEST) -m "not slow and not fetch"

test-all: test  ## run those, then the slow ones
	$(PYTEST) -m "slow and not fetch"

test-faults: setup  ## kill, fill and damage on purpose: FAULTS=300 (default 30) SEED=0
	FAULTS=$(or $(FAULTS),30) SEED=$(or $(SEED),0) $(PYTEST) tests/faults

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

# torch is served as different files (CPU or CUDA build) under one version, so it alone has no hash.
# pip refuses a mix of lines with and without one, hence the two calls.
$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "imagetrail needs Python 3.11 or newer, and $(PYTHON) is older; name another: make PYTHON=python3.12"; exit 1; }
	@echo "installing into .venv: a few minutes, once"
	@$(PYTHON) -m venv .venv
	@grep -v '^torch==' requirements.lock > .venv/hashed.txt
	@$(PIP) install --no-deps --require-hashes -r .venv/hashed.txt
	@$(PIP) install $$(grep '^torch==' requirements.lock)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f .venv/.installed-*
	@touch $@

# What belongs to the CUDA build of torch is left to its own exact pins.
CUDA := cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx
lock:  ## write requirements.lock from pyproject.toml; UPGRADE=--upgrade takes the newest versions
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install uv
	@cp requirements.lock .lock.partial
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --extra dev $(UPGRADE) \
	  $(addprefix --no-emit-package ,torch triton cuda-bindings cuda-pathfinder cuda-toolkit) \
	  $(addprefix --no-emit-package nvidia-,$(CUDA)) --output-file .lock.partial pyproject.toml
	@( echo '# Every version, direct or not, for Linux, macOS and Windows. Written from pyproject.toml by: make lock' && \
	  echo '# torch has no hash: CPU and CUDA builds are different files under one version.' && \
	  grep -o 'torch==[0-9.]*' pyproject.toml && cat .lock.partial ) > requirements.lock.new
	@mv requirements.lock.new requirements.lock && rm .lock.partial
