# SPDX-License-Identifier: Apache-2.0
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
# A package's version begins with a digit, which a bare commit may not.
PACKAGE_VERSION ?= $(if $(filter v%,$(VERSION)),$(VERSION:v%=%),0.0.0+git.$(VERSION))
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := go tool -modfile=tools/go.mod
JSON    ?= dist/bench-bpf.json

.PHONY: help deps build generate check-generated lint vet test-unit test demo bench-bpf soak package clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install what is missing: Debian packages and Go modules (root)
	@tools/deps.sh

build: ## Build bin/onevip: static, one file
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/onevip ./cmd/onevip

generate: ## Compile the eBPF programs again (clang-14)
	go generate ./...

check-generated: ## Fail if the committed eBPF objects are not what the sources give
	@tools/check-generated.sh

lint: vet ## gofmt, go vet, golangci-lint with staticcheck (first run: minutes)
	$(TOOL) golangci-lint run ./...

vet: ## gofmt and go vet
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt -w $$out"; exit 1; }
	go vet ./...

test-unit: ## The tests that need no root, in under a minute
	go test -count=1 -short ./...

test: build ## All tests, labs included (root, about fifteen minutes)
	@tools/test.sh

demo: deps build ## Bring up lab 01-quickstart, send requests, show who served them (root)
	@labs/01-quickstart/demo.sh

bench-bpf: build ## Nanoseconds per packet of the eBPF programs (root); JSON=FILE
	@mkdir -p $(dir $(JSON))
	bin/onevip bench bpf --json $(JSON)

soak: build ## The long tests: a thousand killed servers, half an hour of faults (root, two hours)
	ONEVIP_SOAK=1 go test -count=1 -v -timeout 60m -run TestKill ./checkpoint/...
	ONEVIP_SOAK=1 ONEVIP_BIN=$(CURDIR)/bin/onevip go test -count=1 -v -timeout 90m -run TestSoak ./labs/e2e

package: build ## Debian and RPM packages in dist/
	@mkdir -p dist
	@for kind in deb rpm; do \
	  PACKAGE_VERSION='$(PACKAGE_VERSION)' $(TOOL) nfpm package --config packaging/nfpm.yaml --packager $$kind --target dist/; \
	done

clean: ## Remove what make has built
	rm -rf bin dist
