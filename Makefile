# What a contributor types; CI calls nothing else. Needs Go, GNU make and git. `make help` lists the targets.
.DEFAULT_GOAL := check
MAKEFLAGS += --no-print-directory
TOOL := go tool -modfile=tools/go.mod
# The race detector wants a C compiler with its headers; where there is none, everything is built and tested in pure Go.
RACE := $(shell { go list -race runtime && $$(go env CC) -E -xc -include stdlib.h /dev/null; } >/dev/null 2>&1 && echo -race)
ifeq ($(RACE),)
export CGO_ENABLED := 0
endif
# git refuses to describe a work tree of another user, and then Go refuses to build in it.
STAMP := $(shell git status >/dev/null 2>&1 || echo -buildvcs=false)
PROGRAMS := $(if $(ETCD),ETCD=$(abspath $(ETCD))) $(if $(ETCDUTL),ETCDUTL=$(abspath $(ETCDUTL)))
.PHONY: help build run test check lint generate fmt tidy dist bench bench-quick sim chaos soak deps
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
build: ## build bin/rollcall
	go build $(STAMP) -o bin/rollcall ./cmd/rollcall
run: ## build, then run the demo: etcd, servers and a caller, with a crash and a drain, in 20 seconds
	@echo "building bin/rollcall; the first build takes a minute or two"
	@$(MAKE) build
	@bin/rollcall demo
test: ## run all tests, with -race where a C compiler is; the first build takes some minutes
# Eight at a time: most wait for etcd, not for a processor. Simulations do not, and Go 1.26 crashes in them with -race, rarely.
	@test -n "$(RACE)" || { echo "test: no C compiler, so no -race (make deps installs one)"; test "$(CI)" != true; }
	go test $(RACE) -shuffle=on -parallel 8 -timeout 30m $$(go list ./... | grep -v /simulation$$)
	go test ./internal/simulation && $(MAKE) -C chaos test && $(MAKE) -C bench test && go -C deploy/check test ./...
check: lint ## lint and the short tests: the loop while you work (the default)
	go test $(RACE) -short -parallel 8 $$(go list ./... | grep -v /simulation$$) && go test -short ./internal/simulation
lint: ## gofumpt, go vet and staticcheck; for the API also buf, and whether what is generated is up to date
	@out=$$($(TOOL) gofumpt -l .) && test -z "$$out" || { echo "not formatted, see make fmt: $$out"; exit 1; }
	go vet ./... && $(TOOL) staticcheck ./... && $(MAKE) -C chaos lint && $(MAKE) -C bench lint && $(MAKE) -C api lint && go -C deploy/check vet ./...
generate: ## generate the code and the OpenAPI document of api/ from its .proto files
	@$(MAKE) -C api generate
fmt: ## format the code
	$(TOOL) gofumpt -w .
tidy: ## tidy the go.mod files
	go mod tidy && cd tools && go mod tidy && cd grpcurl && go mod tidy && cd ../coredns && go mod tidy && cd ../../chaos && go mod tidy && cd peers && go mod tidy && cd ../../deploy/check && go mod tidy && cd ../../bench && go mod tidy
dist: ## build what a release is made of, for six platforms, into dist/
	@$(MAKE) -C deploy/dist
bench bench-quick: ## measure everything beside the peers, in half an hour, or small and once, in three minutes (bench/README.md)
	@$(MAKE) -C bench $(@:bench-%=%)
sim: ## simulate faults for longer: make sim SEEDS=5000 FOR=30m
	go test -timeout 0 -run Simulated ./internal/simulation -args -sim.seeds=$(or $(SEEDS),1000) -sim.for=$(or $(FOR),5m)
chaos: ## hurt real clusters, in an hour: make chaos SCENARIO=hung-leader, make chaos ETCD=/usr/bin/etcd (docs/chaos.md)
	@$(MAKE) -C chaos chaos $(PROGRAMS)
soak: ## faults by chance for as long as you say: make soak FOR=4h
	@$(MAKE) -C chaos soak $(PROGRAMS)
deps: ## install what is used beyond Go, from a C compiler to Prometheus: by apt, if root or if sudo needs no password, and by npm
	@$(MAKE) -C tools deps RACE=$(RACE)
