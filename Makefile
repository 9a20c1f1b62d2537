# Two commands for a newcomer: `make demo` and `make test`. What they need is made on first use.

.PHONY: help demo test check bench peers golden clean

# The first Python that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN = .venv/bin
# Environments of peers, for `egress rates` and `egress bench codec`.
PEERS = build/peers
export EGRESS_PEERS ?= $(wildcard $(PEERS))
STAMP = .venv/made

help:
	@echo "make demo    train, code, decode in simulation, place and route; writes out/report.html"
	@echo "make test    all tests"
	@echo "make check   ruff, format and pyright"
	@echo "make bench   benchmarks, short form"
	@echo "make peers   other codecs for the benchmarks and egress rates, under build/peers"
	@echo "make golden  compare bitstreams/ with what its generator writes"
	@echo "make clean   remove what the above made"

demo: $(STAMP)
	$(BIN)/egress demo --output out

test: $(STAMP)
	$(BIN)/pytest -n auto

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m egress.golden --check

bench: $(STAMP)
	$(BIN)/egress bench codec --quick
	$(BIN)/egress bench hardware --short

# Two environments, because nncodec needs an older numpy; of its requirements only that one is used.
peers: $(STAMP)
	$(BIN)/python -m venv --clear $(PEERS)/vela
	$(PEERS)/vela/bin/python -m pip install --quiet ethos-u-vela==5.2.0 zstandard constriction bitarray
	$(BIN)/python -m venv --clear $(PEERS)/nncodec
	$(PEERS)/nncodec/bin/python -m pip install --quiet 'numpy<2'
	$(PEERS)/nncodec/bin/python -m pip install --quiet --no-deps nncodec==2.1.3
	@echo "export EGRESS_PEERS=$(CURDIR)/$(PEERS)"

golden: $(STAMP)
	$(BIN)/python -m egress.golden --check

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
	@touch $@
