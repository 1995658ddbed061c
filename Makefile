# elstore. `make help` lists the targets; CONTRIBUTING.md says more.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 20s
CEPH_DIR ?= /tmp/elstore-ceph

# pacific is librbd 16.2, Debian 12's; a newer librbd needs no more than ceph.
CEPH_TAGS ?= ceph,pacific

# Packages want a version that begins with a digit, and each commit a higher one.
PACKAGE_VERSION ?= $(if $(filter v0% v1% v2% v3% v4% v5% v6% v7% v8% v9%,$(VERSION)),$(subst -,.,$(VERSION:v%=%)),0.0.0~$(shell git rev-list --count HEAD 2>/dev/null || echo 0).$(subst -,.,$(VERSION)))

# No version control stamp: git refuses to look into a checkout that belongs to another user, and the version
# is stamped by name.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

CODE = $(wildcard cmd volume pool export cloudinit iso livemigration api test)
TOOL = go tool -modfile=test/tools.mod

.PHONY: help build build-ceph ceph-up ceph-down package package-ceph run demo test cover check lint vuln format bench fuzz soak clean need-go

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: need-go ## build bin/elstore: static, reproducible, with its version
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/elstore ./cmd/elstore

package: need-go ## a .deb and a .rpm in bin/package, with a systemd unit
	@$(MAKE) build
	@.ci/package bin/elstore '$(PACKAGE_VERSION)' bin/package

package-ceph: need-go ## the same with Ceph, as elstore-ceph, which takes the place of elstore
	@$(MAKE) build-ceph
	@.ci/package bin/elstore '$(PACKAGE_VERSION)' bin/package

build-ceph: need-go ## build bin/elstore with Ceph: needs cgo, librbd-dev and librados-dev, which it installs
	@.ci/setup ceph
	CGO_ENABLED=1 go build -tags $(CEPH_TAGS) -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/elstore ./cmd/elstore

ceph-up: need-go ## run a Ceph cluster on loopback to try pools with, its data in memory, and say how
	@.ci/setup ceph
	@go run ./test/ceph/lab up $(CEPH_DIR)

ceph-down: need-go ## end it
	@go run ./test/ceph/lab down $(CEPH_DIR)

run: need-go ## install what is missing, build, and serve ./mnt on 127.0.0.1:7772
	@.ci/setup run
	@$(MAKE) build
	@.ci/serve

demo: need-go ## the whole story against a server of its own, each step with its proof
	@.ci/setup run
	@$(MAKE) build
	@.ci/demo

test: need-go ## install what the tests need, and run them all
	@.ci/setup test
	@.ci/gotest -race -shuffle=on -timeout=15m ./...
	@.ci/test-ceph $(CEPH_TAGS)

cover: need-go ## how much of each package its own tests reach
	@.ci/setup test
	go test -cover -timeout=15m $(addprefix ./,$(addsuffix /...,$(filter-out test cmd,$(CODE))))

check: need-go ## formatting, vet, modules, imports and every linter
	@.ci/setup test
	@echo 'gofumpt -l'; out=$$($(TOOL) gofumpt -l $(CODE)); test -z "$$out" || { echo "not formatted, make format does it:"; echo "$$out"; exit 1; }
	go vet ./...
	go fix -diff ./...
	go mod tidy -diff
	go test ./test/arch
	@$(MAKE) lint

lint: need-go
	$(TOOL) golangci-lint run --allow-parallel-runners ./...

vuln: need-go ## known vulnerabilities in what is imported, by govulncheck; GOVULNDB=URL names another database
	$(TOOL) govulncheck $(if $(GOVULNDB),-db $(GOVULNDB)) ./...

format: need-go ## format the code, and let go fix bring it up to date
	go fix ./...
	$(TOOL) gofumpt -w $(CODE)

bench: need-go ## measure, and print a table: what, ours, the peer, the ratio
	@.ci/setup bench
	@$(MAKE) build
	CGO_ENABLED=1 go build -tags $(CEPH_TAGS) -trimpath -o bin/elstore-ceph ./cmd/elstore
	go run ./test/bench

fuzz: need-go ## fuzz every parser, each for FUZZTIME (20s)
	@.ci/fuzz $(FUZZTIME)

soak: need-go ## a mixed load for an hour, and random commands from 8 iSCSI sessions for 30 minutes
	go test -timeout=0 -run '^TestNothingIsKept$$' -v ./test/soak -soak 1h
	go test -race -timeout=0 -run '^TestSoak$$' -v ./export/iscsi -soak 15m

clean: ## remove what was built; ./mnt stays
	rm -rf bin coverage.out *.prof

need-go:
	@.ci/need-go
