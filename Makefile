.DEFAULT_GOAL := help
.PHONY: help setup repro test check ui bench lock

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Stages and tools start processes of their own: these keep every one of them off the network and quiet.
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

# The stamp's name holds the lock's content, so a second call costs one checksum.
STAMP := .venv/.installed-$(shell cat requirements.lock pyproject.toml 2>/dev/null | cksum | tr ' ' '-')

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 8

setup: $(STAMP)  ## create .venv with the exact versions of requirements.lock

# torch is served as different files (CPU or CUDA build) under one version, so it alone has no hash;
# pip refuses a mix of hashed and unhashed lines, hence the two calls.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "imagetrail needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V); choose one with make PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	grep -v '^torch==' requirements.lock > .venv/hashed.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/hashed.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' requirements.lock)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	rm -f .venv/.installed-* && touch $@

lock:  ## write requirements.lock anew from pyproject.toml (needs network)
	$(BIN)/python -m pip install --quiet uv
	( echo '# Every version, direct or not, for Linux, macOS and Windows. Written by "make lock" from pyproject.toml.' && \
	  echo '# torch has no hash: CPU and CUDA builds are different files under one version.' && \
	  echo '$(shell grep -o 'torch==[0-9.]*' pyproject.toml)' && \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --extra dev pyproject.toml \
	    $(foreach p,torch triton cuda-bindings cuda-pathfinder cuda-toolkit,--no-emit-package $(p)) \
	    $(foreach p,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx,--no-emit-package nvidia-$(p)) \
	) > requirements.lock.new && mv requirements.lock.new requirements.lock
