#!/bin/sh
# Everything that can be said about the code without running it, and the Rust tests. `make check` calls it.
set -eu
set -x
ruff check .
ruff format --check .
mypy
mypy --strict tests/typing
lint-imports
python -m mypy.stubtest runbus._core
python .ci/rust_cycles.py rust/*/src
$CARGO fmt --all --check
# Outside of the workspace, since it needs nightly Rust.
rustfmt --check --edition 2024 rust/fuzz/src/*.rs
$CARGO clippy --quiet --all-targets -- -D warnings
$CARGO test --quiet
