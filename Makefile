# The commands of this repository. `make run` and `make test` need Go and make;
# they install the rest with the machine's package manager (scripts/deps).
# Works with GNU make from 3.81 on, which is what macOS has.

MODULE      := github.com/message-dispatcher/dispatch
VERSION      = $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
MODULE_DIRS := . ./test

# Tools are built from source in pinned versions. The version is part of the
# file name, so a new pin builds a new file.
GOLANGCI_LINT_VERSION := v2.15.0
SQLC_VERSION          := v1.31.1
GOVULNCHECK_VERSION   := v1.9.0
# goreleaser v2.17 needs a module that not every proxy serves, v2.18 needs Go 1.27.
# syft writes the SBOMs.
GORELEASER_VERSION    := v2.16.0
SYFT_VERSION          := v1.57.1

TOOLS         := $(CURDIR)/bin/tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
SQLC          := $(TOOLS)/sqlc-$(SQLC_VERSION)
GOVULNCHECK   := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)
GORELEASER    := $(TOOLS)/goreleaser-$(GORELEASER_VERSION)
SYFT          := $(TOOLS)/syft-$(SYFT_VERSION)

# ARGS goes to `dispatch up`: make run ARGS='--data /tmp/dispatch'
# TESTFLAGS goes to `go test`: make test TESTFLAGS='-run TestPace -v'
# PKGS are the packages that are tested: make test PKGS=./pkg/message/...
ARGS      ?=
TESTFLAGS ?=
PKGS      ?= work

# The version comes from git describe. Go's own stamp adds nothing, and fails
# if the checkout belongs to another user (containers, CI).
GOFLAGS ?= -buildvcs=false
export GOFLAGS

.DEFAULT_GOAL := help
.PHONY: help run dev dev-up dev-down deps build test proof test-unit test-integration test-coverage chaos bench \
	lint fmt vet generate tidy vuln migrate-up migrate-down migrate-create docker-build release clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## Install what is missing, build, and run everything on this machine
	@scripts/deps run
	@$(MAKE) --no-print-directory build
	bin/dispatch up $(ARGS)

# A pace to watch: a batch every two seconds. The environment overrides it.
DEV := PROCESSING_INTERVAL=$${PROCESSING_INTERVAL-2s} BATCH_SIZE=$${BATCH_SIZE-10}

dev: ## Like run, at a faster pace
	@scripts/deps run
	@$(MAKE) --no-print-directory build
	$(DEV) bin/dispatch up $(ARGS)

dev-up: ## Like dev, in the background (log: bin/dev.log); returns when all is ready
	@scripts/deps run
	@$(MAKE) --no-print-directory build
	@$(DEV) scripts/dev up $(ARGS)

dev-down: ## Stop what dev-up started; data stays
	@scripts/dev down

deps: ## Install what is missing to run and to test (PostgreSQL, Redis, PgBouncer, a C compiler, curl, ps, Chromium)
	@scripts/deps test

build: ## Build bin/dispatch, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-X $(MODULE)/pkg/service.version=$(VERSION)' -o bin/dispatch ./cmd/dispatch

# The race detector needs cgo, and is of no use to tests that only drive whole
# processes, which are built without it. -count=1, since a test's result that is
# kept knows nothing of the programs that it has built. make lint does what
# -vet=off leaves out, -trimpath shares what is built with what the tests build,
# and -timeout is for each package by itself.
DRIVERS    := test/(chaos|crash|overload|testenv)$$
RACED       = CGO_ENABLED=1 go test -race -short -count=1 -vet=off -timeout 18m $(TESTFLAGS)
DRIVEN      = CGO_ENABLED=0 go test -short -count=1 -vet=off -timeout 18m $(TESTFLAGS)
test test-integration: GOFLAGS += -trimpath

test: ## Install what is missing and run the tests of every module, with the race detector
	@scripts/deps test
	@go list $(PKGS) >/dev/null
	go list $(PKGS) | grep -Ev '$(DRIVERS)' | xargs -r env $(RACED)
	go list $(PKGS) | grep -E '$(DRIVERS)' | xargs -r env $(DRIVEN)

# What make test cuts short: every failpoint twice in a row too, every kind of
# damage to a store, a hundred thousand parked retries.
proof: ## Run the proofs of docs/RELIABILITY.md at full length, and every other test
	@scripts/deps test
	CGO_ENABLED=0 go test -p 1 -count=1 -timeout 60m $(TESTFLAGS) $(PKGS)

# Tests that start servers import one of these packages, or belong to them.
WITH_IMPORTS := go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' $(PKGS)
SERVERS      := pkg/embedded|pkg/db/dbtest|internal/cli/clitest|test/testenv

test-unit: ## Run the tests that need nothing: no servers, no C compiler
	CGO_ENABLED=0 go test $(TESTFLAGS) $$($(WITH_IMPORTS) | grep -Ev '$(SERVERS)' | cut -d' ' -f1)

test-integration: ## Run the tests on real Postgres, NATS and Redis, with the race detector
	@scripts/deps test
	$(RACED) $$($(WITH_IMPORTS) | grep -E '$(SERVERS)' | cut -d' ' -f1)

# SEED repeats the disturbances of a run that printed it; 0 is another one each time.
DURATION ?= 10m
SEED     ?= 0
INTERVAL ?= 1s

chaos: ## Break everything at random and judge: DURATION=10m, SEED=0 (another each time), INTERVAL=1s (0: continuous)
	@scripts/deps test
	CGO_ENABLED=0 go test ./test/chaos -run '^TestChaos$$' -count=1 -v -timeout 0 -args -duration $(DURATION) -seed $(SEED) -interval $(INTERVAL)

# The hot paths, with allocations. To compare two states of the code, write each
# one's output to a file (make -s bench >old.txt) and run benchstat old.txt new.txt.
BENCHED    = ./pkg/message ./pkg/events ./pkg/db ./services/dispatcher/recorder ./services/sender
BENCHCOUNT ?= 6
BENCHTIME  ?= 1s

bench: ## Measure the hot paths: time and allocations, as benchstat reads them (whole installations: bin/dispatch bench)
	@scripts/deps test >&2
	CGO_ENABLED=0 go test -run '^$$' -bench . -benchmem -count $(BENCHCOUNT) -benchtime $(BENCHTIME) -timeout 60m $(TESTFLAGS) $(BENCHED)

test-coverage: ## Run every test and show how much of the code they reach (bin/coverage.out)
	@scripts/deps test
	@mkdir -p bin
	CGO_ENABLED=0 go test -short -timeout 15m -coverpkg=$(MODULE)/... -coverprofile=bin/coverage.out $(TESTFLAGS) $(PKGS)
	@go tool cover -func=bin/coverage.out | tail -1
	@echo 'line by line: go tool cover -html=bin/coverage.out'

# Each module is checked alone too (GOWORK=off): that is how images are built,
# and how a missing requirement or replacement shows.
lint: export CGO_ENABLED = 0
lint: $(GOLANGCI_LINT) $(SQLC) ## Check the format, the linters, each module by itself, generated code and the AsyncAPI document
	@echo 'gofmt'; unformatted=$$(gofmt -l cmd internal migrations pkg services test); \
		[ -z "$$unformatted" ] || { echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; } >&2
	@echo 'no test sleeps'; sleeping=$$(grep -rl --include='*_test.go' 'time\.Sleep(' . | xargs grep -L '"testing/synctest"' /dev/null | grep -v /dev/null); \
		[ -z "$$sleeping" ] || { echo "wait for a signal instead, or use testing/synctest:"; echo "$$sleeping"; exit 1; } >&2
	$(GOLANGCI_LINT) run $(addsuffix /...,$(MODULE_DIRS))
	@for dir in $(MODULE_DIRS); do \
		echo "tidy and vet: $$dir"; \
		(cd "$$dir" && GOWORK=off go mod tidy -diff && GOWORK=off go vet ./...) || exit 1; \
	done
	@scripts/check-generated
	@echo 'docs/asyncapi.yaml'; scripts/check-asyncapi

fmt: $(GOLANGCI_LINT) ## Format all Go code
	$(GOLANGCI_LINT) fmt $(MODULE_DIRS)

vet: ## Run go vet over every module
	go vet work

generate: $(SQLC) ## Write generated code: the queries (sqlc), then every go:generate line
	cd pkg/db && $(SQLC) generate
	go generate work

# `go work sync` gives all modules the same versions; then each one is tidied by itself.
tidy: ## Bring all go.mod and go.sum files in line
	go work sync
	@for dir in $(MODULE_DIRS); do \
		echo "tidy: $$dir"; \
		(cd "$$dir" && GOWORK=off go mod tidy) || exit 1; \
	done

vuln: $(GOVULNCHECK) ## Look for known vulnerabilities (before a release; needs the network)
	@for dir in $(MODULE_DIRS); do \
		echo "vulnerabilities: $$dir"; \
		(cd "$$dir" && GOWORK=off $(GOVULNCHECK) ./...) || { \
			[ $$? -eq 3 ] || echo 'vuln needs https://vuln.go.dev, and could not ask there' >&2; exit 1; }; \
	done

migrate-up: build ## Bring the schema of DATABASE_URL up to date
	@bin/dispatch migrate up

migrate-down: build ## Take back the last migration; ARGS=--yes also if data is lost with it
	@bin/dispatch migrate down $(ARGS)

migrate-create: ## Make the two files of the next migration: NAME=add_something
	@scripts/migration '$(NAME)'

docker-build: ## Build the container image message-dispatcher
	@command -v docker >/dev/null || { echo 'docker-build needs docker, and there is none here' >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { echo 'docker-build needs a running docker engine, and none answers (docker info says why)' >&2; exit 1; }
	docker build -f infra/Dockerfile --build-arg VERSION=$(VERSION) -t message-dispatcher:latest .

# A commit with a version's tag is built as that version, any other as a snapshot.
# goreleaser finds syft in the PATH, under its plain name.
release: export GOWORK := off
release: export COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null)
release: export PATH := $(TOOLS):$(PATH)
release: $(GORELEASER) $(SYFT) ## Build archives, checksums, SBOMs, deb and rpm packages in dist/; publishes nothing
	@ln -sf $(notdir $(SYFT)) $(TOOLS)/syft
	$(GORELEASER) release --clean --skip=publish $(if $(shell git describe --tags --exact-match 2>/dev/null),,--snapshot)

clean: dev-down ## Remove everything built, the tools too; data stays
	rm -rf bin dist

# go install cannot name its file, so each tool is installed and then renamed.
# CGO_ENABLED=0: no tool needs a C compiler.
define install_tool
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) GOWORK=off CGO_ENABLED=0 go install $(1)
	@mv $(TOOLS)/$(2) $@
endef

$(GOLANGCI_LINT):
	$(call install_tool,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION),golangci-lint)

$(SQLC):
	$(call install_tool,github.com/sqlc-dev/sqlc/cmd/sqlc@$(SQLC_VERSION),sqlc)

$(GOVULNCHECK):
	$(call install_tool,golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION),govulncheck)

$(GORELEASER):
	$(call install_tool,github.com/goreleaser/goreleaser/v2@$(GORELEASER_VERSION),goreleaser)

$(SYFT):
	$(call install_tool,github.com/anchore/syft/cmd/syft@$(SYFT_VERSION),syft)
