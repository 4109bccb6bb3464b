# What every project has, this repository and those that `imagetrail init` begins: to set up, to run, to retrain.
.DEFAULT_GOAL := help
.PHONY: help init repro retrain offer request ui

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*##/\1/' | awk '{ printf "  make %-15s", $$1; $$1 = ""; print }'

init: setup  ## choose params for your pictures: make init DATA=photos MINUTES=15
	@$(BIN)/imagetrail init $(if $(FORCE),--force) $(if $(MINUTES),--minutes "$$MINUTES") $(if $(KIND),--kind "$$KIND") -- "$$DATA"

repro: setup  ## run the pipeline, or what of it is out of date, and publish it to MLflow
	$(BIN)/imagetrail repro
	@$(BIN)/imagetrail publish

# What CI does, whichever CI it is; .github/workflows/retrain.yml and .gitlab-ci.yml call these three.
retrain: setup  ## run what new data or params call for, and commit it to the branch retrain
	@$(BIN)/imagetrail recall
	$(BIN)/imagetrail repro
	-@$(BIN)/imagetrail publish
	@$(BIN)/imagetrail propose

offer: setup  ## push that branch, and what DVC has of it
	@$(BIN)/imagetrail offer $(OPTIONS)

request:  ## open or update its pull request on GitHub
	@if [ ! -e .imagetrail/offered ]; then echo "nothing to request"; exit; fi; \
	title=$$(git log -1 --format=%s) && number=$$(gh pr list --head retrain --state open --json number --jq '.[].number') || exit; \
	if [ -n "$$number" ]; then gh api --silent -X PATCH "repos/{owner}/{repo}/pulls/$$number" -f title="$$title" -F body=@.imagetrail/proposal.md; \
	else gh pr create --head retrain --title "$$title" --body-file .imagetrail/proposal.md; fi

ui: setup  ## open the MLflow UI on this machine
	@$(BIN)/imagetrail ui
