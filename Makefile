# Everything that is pinned builds itself the first time it is needed: a machine needs Go, make and git, and, for
# images and the cluster, Debian's packages, which are installed when missing (as root).
#
# IMAGE_REPOSITORY  where images are named, and pushed unless it starts with localhost/   (localhost/plumbline)
# IMAGE_TAG         their tag                                                            (dev)
# IMAGE_ENGINE      the runner's engine, terraform or tofu                               (whichever can be had)
# IMAGE_BASE        what the images stand on                                             (scratch)
# PLUMBLINE_KUBECONFIG  an existing cluster to use instead of a local one; it must be able to pull from
#                   IMAGE_REPOSITORY
# PLUMBLINE_CACHE   where built tools are kept                                           (the user's cache folder)
# PLUMBLINE_VAULT   the server that tests and demo run as Vault, such as /usr/bin/bao    (the pinned Vault)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# As the images are compiled: what is built for one is in the compiler's cache for the others.
export CGO_ENABLED := 0
export GOFLAGS := $(GOFLAGS) -trimpath -buildvcs=false

tool = go run ./internal/tools/cmd/tools path

# envtest's way of finding an API server.
ASSETS := $(CURDIR)/.build/envtest
export KUBEBUILDER_ASSETS := $(ASSETS)

GENERATED := api/v1alpha1/zz_generated.deepcopy.go deploy/crds deploy/chart/crds deploy/install.yaml

# What needs the real node, of which a machine has one.
NODE_TESTS := ./e2e ./e2e/cluster

.PHONY: demo test unit integration e2e driver programs lint generate verify images up down bench help

demo: ## Show Plumbline at work on a real cluster, step by step
	@go run ./e2e/demo

# One package at a time, for those of real servers want both cores; but the driver's wait for deadlines most of the time,
# and go beside the node's. make ends when all have, and fails when one of them did.
test: $(ASSETS) images ## Test everything: unit, integration and, on a real node, end to end
	@echo "testing everything: about twenty-five minutes, with everything built" >&2
	@go vet -tags integration,e2e ./... # compiles in parallel
	go test -tags integration,e2e -p 1 -timeout 60m $$(go list ./... | grep -vxF "$$(go list $(NODE_TESTS) ./driver)")
	@$(MAKE) -j 2 e2e driver

unit: ## Test what needs nothing but Go
	go test ./...

integration: $(ASSETS) ## Test against a real API server and etcd
	go test -tags integration -timeout 15m ./...

e2e: $(ASSETS) images ## Test on a real node
	go test -tags integration,e2e -p 1 -timeout 60m $(NODE_TESTS)

driver: $(ASSETS)
	go test -tags integration -timeout 60m ./driver

lint: ## Check the house rules
	@linter=$$($(tool) golangci-lint); "$$linter" run ./...
	@helm=$$($(tool) helm); "$$helm" lint --strict --quiet --kube-version 1.36.3 deploy/chart

generate: ## Generate deep copies, definitions, the chart's copy of them, and install.yaml
	@generator=$$($(tool) controller-gen); "$$generator" object crd paths=./api/... output:crd:dir=deploy/crds
	@rm -rf deploy/chart/crds && cp -r deploy/crds deploy/chart/crds
	@helm=$$($(tool) helm) deploy/render-install.sh > deploy/install.yaml

verify: generate lint ## Fail when something generated or formatted is out of date, or a rule is broken
	@git diff --exit-code -- $(GENERATED) || \
		{ echo "generated files differ from what is committed: run make generate and commit" >&2; exit 1; }
	@untracked=$$(git ls-files --others --exclude-standard -- $(GENERATED)); [ -z "$$untracked" ] || \
		{ echo "generated but not committed: $$untracked" >&2; exit 1; }
	go mod tidy -diff

images: ## Build what changed of the images into .build/images, as docker-archives
	@go run ./images/cmd/images build

up: ## Bring up a cluster with this checkout's Plumbline in it
	@go run ./e2e/install/cmd/install up

down: ## Remove that cluster; from one that PLUMBLINE_KUBECONFIG names, only Plumbline
	@go run ./e2e/install/cmd/install down

bench: ## Measure what a Run costs, against a bare Pod, and a state through the service against its store
	@go run ./e2e/bench

help: ## Show this
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Not .PHONY and not listed: made anew each time, since a link costs nothing and a pin may have changed.
$(ASSETS): programs
	@mkdir -p $@
	@for name in kube-apiserver kubectl; do ln -sfn "$$($(tool) kubernetes $$name)" $@/$$name; done
	@ln -sfn "$$($(tool) etcd etcd)" $@/etcd

# What tests run, built before any of them begins: a compiler beside them would take their time.
programs:
	@go run ./internal/tools/cmd/tools build $$(go run ./internal/tools/cmd/tools list | grep -vx -e golangci-lint -e controller-gen \
		$(if $(PLUMBLINE_VAULT),-e vault))
