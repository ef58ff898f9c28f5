# segue: one Go binary, no cgo. `make` lists the targets.

GO       ?= go
PYTHON   ?= python3
FUZZTIME ?= 10s
BENCH    ?= .
CLIP     ?= clips/house-119.wav

export CGO_ENABLED = 0

.PHONY: help build demo test test-arm64 test-metal check bench fuzz generate ptx golden clip clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./segue
	$(GO) build -trimpath -o segue$$($(GO) env GOEXE) ./cmd/segue

demo: build ## continue a loop by 10 s: build/demo.wav is the loop, then what follows; CLIP=clips/… picks another
	@mkdir -p build
	./segue continue $(CLIP) --prompt-seconds 9 --include full --output-path build/demo.wav --overwrite

test: ## run all tests but those of the GPU (needs node for the Node example)
	@command -v node >/dev/null || { echo "test: node is missing; the Node example is tested with it (Debian: apt-get install nodejs)" >&2; exit 1; }
	$(GO) test -skip OnMetal $$($(GO) list ./... | grep -v /metalkern)
	$(GO) test -tags noasm ./engine/cpukern/...

test-arm64: ## run the kernels' tests for arm64 (needs qemu-aarch64 unless this is one)
	@command -v qemu-aarch64 >/dev/null || { echo "test-arm64: qemu-aarch64 is missing (Debian: apt-get install qemu-user)" >&2; exit 1; }
	GOARCH=arm64 $(GO) test -timeout 20m -exec 'qemu-aarch64 -cpu max' ./engine/cpukern/...

test-metal: ## run the GPU's kernels on the processor, checked in every way, and the Metal driver (needs g++ and clang)
	rm -rf build/mtltest/dispatches
	SEGUE_REQUIRE='g++ clang' SEGUE_METAL_RECORD=$(CURDIR)/build/mtltest/dispatches $(GO) test ./metalkern/...
	SEGUE_REQUIRE='g++ clang' $(GO) test -run OnMetal ./cmd/segue
	$(GO) run ./metalkern/mtltest/sanitize build/mtltest/dispatches

check: ## imports, format, vet, modules, generated files, builds for every system
	$(GO) run ./scripts/check/arrows
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "check: gofmt wants to change: $$files" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) mod tidy -diff
	scripts/check/fresh.sh
	$(GO) run ./scripts/ptx --check
	scripts/check/cross.sh

bench: ## run the benchmarks; BENCH=Linear picks some
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

fuzz: ## run every fuzz target for FUZZTIME=10s
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

generate: ## write the generated files again: protocol document, assembly, the tests' model
	$(GO) generate ./...
	$(GO) run ./scripts/tiny testdata/tiny

# NVRTC is NVIDIA's runtime compiler; this version's PTX is read by drivers from 525 on.
NVRTC = 12.0.140

ptx: build/nvrtc/$(NVRTC) ## make the kernels for NVIDIA's GPUs again (Linux on amd64; needs a C preprocessor and pip)
	$(GO) run ./scripts/ptx --nvrtc build/nvrtc/$(NVRTC)/nvidia/cuda_nvrtc/lib/libnvrtc.so.12

build/nvrtc/$(NVRTC):
	$(PYTHON) -m pip install --quiet --no-deps --target $@.part nvidia-cuda-nvrtc-cu12==$(NVRTC)
	mv $@.part $@

golden: build/venv/ready ## make the goldens again with the reference implementation: build/goldens
	scripts/golden/make.sh build/goldens build/venv/bin/python

build/venv/ready: scripts/golden/requirements.txt
	$(PYTHON) -m venv build/venv
	build/venv/bin/pip install --quiet -r scripts/golden/requirements.txt
	@touch $@

clip: ## render testdata/clip.wav again
	$(GO) run ./scripts/clip testdata/clip.wav

clean: ## remove what was built
	rm -rf build segue segue.exe
