#!/bin/sh
# A fuzzer that watches which code it reaches, at the readers: `make fuzz`. Needs a nightly toolchain
# and cargo-fuzz; without them, `cargo test --release --test fuzz` changes files blindly, which needs
# neither. What it finds is kept in the cache, and the next run begins there.
set -eu
if ! rustc +nightly --version >/dev/null 2>&1; then
    echo 'error: make fuzz needs nightly Rust' >&2
    echo 'hint: rustup toolchain install nightly' >&2
    exit 1
fi
cd "$(dirname "$0")"
tools=$1/tools
found=$1/fuzz
PATH=$tools/bin:$PATH
if ! command -v cargo-fuzz >/dev/null; then
    cargo install --quiet --locked --root "$tools" cargo-fuzz --version 0.13.2 || {
        echo 'error: make fuzz needs cargo-fuzz, which could not be installed' >&2
        echo 'hint: where crates.io is reached: cargo install --locked cargo-fuzz --version 0.13.2' >&2
        exit 1
    }
fi
mkdir -p "$found/corpus"
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
FUZZ_SEEDS=$seeds cargo +nightly fuzz run --fuzz-dir . reader "$found/corpus" "$seeds" -- \
    -max_total_time="${FUZZ_SECONDS:-60}" -max_len=65536 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$found/"
