# What a person types. Each target is one line; what is already built is not built again.
# The first that runs and is new enough; looked for only where the environment is still to be made.
PYTHON ?= $(or $(shell for one in python3.11 python3 python3.12 python3.13 python3.14; do $$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$one && break; done),$(error Python 3.11 or later is needed: make PYTHON=/path/to/python3))
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/runbus
V := .venv
PY := $(V)/bin/python
PIP := $(if $(shell command -v uv),uv pip install --quiet --compile-bytecode --python $(PY),$(PY) -m pip install --quiet --disable-pip-version-check)
RUST := $(shell git ls-files -co --exclude-standard 'rust/*' 'Cargo.*' 2>/dev/null || find rust Cargo.*)
unexport PYTHONDONTWRITEBYTECODE
# maturin and plain cargo build pyo3 with other settings: two folders, so neither undoes the other's work.
export CARGO_TARGET_DIR ?= $(CACHE)/target
CARGO := CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/cargo cargo
# maturin leaves its wheel beside what it builds: a second checkout would take that of the first.
ALONE := $(if $(shell command -v flock),flock $(CARGO_TARGET_DIR)/.lock)
BUILD := CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/maturin PATH="$(CURDIR)/$(V)/bin:$$PATH"

.PHONY: demo test check fuzz sanitize mutants bench services-test wheel-test docs clean
.DELETE_ON_ERROR:

demo: $(V)/.demo $(V)/.core ; @$(PY) -m examples.demo
test: $(V)/.dev $(V)/.core ; $(PY) -m pytest -n auto --dist worksteal -m 'not services' $(ARGS)
check: $(V)/.dev $(V)/.core ; PATH="$(CURDIR)/$(V)/bin:$$PATH" CARGO="env $(CARGO)" sh .ci/check.sh
services-test: $(V)/.dev $(V)/.core ; sh tests/services/install.sh && $(PY) -m pytest -m services $(ARGS)
wheel-test: $(V)/.dev $(V)/.core ; CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/sdist PATH="$(CURDIR)/$(V)/bin:$$PATH" sh .ci/sdist.sh
fuzz: ; CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/fuzz sh rust/fuzz/run.sh $(CACHE)
sanitize: ; CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/sanitize sh rust/sanitize.sh
mutants: $(V)/.mutants $(V)/.core ; PATH="$(CURDIR)/$(V)/bin:$$PATH" sh .ci/mutants.sh $(CACHE)/mutants $(ARGS)
bench: $(V)/.bench $(V)/.core ; $(PY) -m benches $(ARGS)
docs: $(V)/.dev $(V)/.core ; $(PY) -m docs.generate
clean: ; rm -rf $(V) build dist site python/runbus/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis benches/results $(CARGO_TARGET_DIR)/cargo $(CARGO_TARGET_DIR)/maturin $(CARGO_TARGET_DIR)/sanitize $(CARGO_TARGET_DIR)/fuzz $(CARGO_TARGET_DIR)/sdist

$(PY): ; $(PYTHON) -m venv $(V) && $(if $(shell command -v uv),true,$(PY) -m pip install --quiet -c constraints.txt pip)
$(V)/.demo $(V)/.dev $(V)/.bench $(V)/.mutants: $(V)/.%: pyproject.toml constraints.txt | $(PY) ; $(PIP) -c constraints.txt --group $* && touch $@
# Its time is that of the start: what is edited while it is built is built again.
$(V)/.core: pyproject.toml $(RUST) $(wildcard plugins/*/pyproject.toml) | $(V)/.demo ; mkdir -p $(CARGO_TARGET_DIR) && touch $@.began && $(BUILD) $(ALONE) $(PIP) --no-build-isolation -c constraints.txt -e . $(addprefix -e ./,$(wildcard plugins/*)) && mv $@.began $@
