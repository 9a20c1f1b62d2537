# Two commands for a newcomer: `make demo` and `make test`. What they need is made on first use.

.PHONY: help demo test check bench peers golden fuzz clean

# The first Python that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN = .venv/bin
# Environments of peers, for `egress rates` and `egress bench codec`.
PEERS = build/peers
export EGRESS_PEERS ?= $(wildcard $(PEERS))
STAMP = .venv/made
# The compiled codec that .venv holds.
BUILT = .venv/built
KERNEL = $(wildcard sw/kernel/*.[ch])

help:
	@echo "make demo    train, code, decode in simulation, place and route; writes out/report.html"
	@echo "make test    all tests"
	@echo "make check   ruff, format and pyright"
	@echo "make bench   benchmarks, short form"
	@echo "make fuzz    the compiled codec under sanitizers, 10 million inputs (needs clang)"
	@echo "make peers   other codecs for the benchmarks and egress rates, under build/peers"
	@echo "make golden  compare bitstreams/ with what its generator writes"
	@echo "make clean   remove what the above made"

demo: $(BUILT)
	$(BIN)/egress demo --output out

test: $(BUILT)
	$(BIN)/pytest -n auto --dist worksteal

check: $(BUILT)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m egress.golden --check

bench: $(BUILT)
	$(BIN)/egress bench codec --quick
	$(BIN)/egress bench hardware --short

# Two environments, because nncodec needs an older numpy; of its requirements only that one is used.
peers: $(BUILT)
	$(BIN)/python -m venv --clear $(PEERS)/vela
	$(PEERS)/vela/bin/python -m pip install --quiet ethos-u-vela==5.2.0 zstandard constriction bitarray
	$(BIN)/python -m venv --clear $(PEERS)/nncodec
	$(PEERS)/nncodec/bin/python -m pip install --quiet 'numpy<2'
	$(PEERS)/nncodec/bin/python -m pip install --quiet --no-deps nncodec==2.1.3
	@echo "export EGRESS_PEERS=$(CURDIR)/$(PEERS)"

golden: $(BUILT)
	$(BIN)/python -m egress.golden --check

# Guided by coverage first, for SECONDS, which keeps what finds something new in build/fuzz/corpus;
# then RUNS inputs made of those, without the cost of watching. One that fails is told or kept there.
RUNS ?= 10000000
SECONDS ?= 300
FUZZED = tests/fuzz/kernel_fuzz.c $(filter-out %module.c,$(filter %.c,$(KERNEL)))
SANITIZE = clang -g -O2 -std=gnu11 -Isw/kernel -fsanitize=address,undefined -fno-sanitize-recover=all
export ASAN_OPTIONS = quarantine_size_mb=1:clear_shadow_memory_mmap_threshold=100000000

fuzz: build/fuzz/guided build/fuzz/alone
	mkdir -p build/fuzz/corpus
	cd build/fuzz && ./guided -max_total_time=$(SECONDS) -max_len=200 -verbosity=0 -print_final_stats=1 \
		corpus ../../tests/fuzz/corpus
	build/fuzz/alone -$(RUNS) tests/fuzz/corpus/* $$(ls build/fuzz/corpus/* | head -3000)

build/fuzz/guided build/fuzz/alone: tests/fuzz/kernel_fuzz.c $(KERNEL)
	@command -v clang >/dev/null || { echo "clang is missing: apt-get install clang" >&2; exit 1; }
	mkdir -p build/fuzz
	$(SANITIZE) $(if $(findstring guided,$@),-fsanitize=fuzzer,-DALONE) $(FUZZED) -o $@

clean:
	rm -rf .venv out egress-demo dist build

$(STAMP): pyproject.toml constraints.txt
	@missing=; \
	[ -n "$(PYTHON)" ] || missing="$$missing python3(3.11-or-newer)"; \
	[ -z "$(PYTHON)" ] || $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	for tool in g++ perl; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
		echo "missing:$$missing" >&2; \
		echo "on Debian or Ubuntu: apt-get install python3 python3-venv g++ perl" >&2; \
		exit 1; \
	fi
	@echo "making .venv with $$($(PYTHON) --version); this takes some minutes, once"
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(BUILT)

$(BUILT): $(STAMP) setup.py $(KERNEL)
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@
