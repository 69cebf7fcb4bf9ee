#!/bin/sh
# A fuzzer that watches which code it reaches, at the readers: `make fuzz`. Needs a nightly toolchain.
# What it finds is kept in the cache, and the next run begins there.
set -eu
if ! rustc +nightly --version >/dev/null 2>&1; then
    echo 'make fuzz needs nightly Rust: rustup toolchain install nightly' >&2
    exit 1
fi
cd "$(dirname "$0")"
tools=$1/tools
found=$1/fuzz
[ -x "$tools/bin/cargo-fuzz" ] ||
    cargo install --quiet --locked --root "$tools" cargo-fuzz --version 0.13.2
mkdir -p "$found/corpus"
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
PATH=$tools/bin:$PATH FUZZ_SEEDS=$seeds cargo +nightly fuzz run --fuzz-dir . reader "$found/corpus" "$seeds" -- \
    -max_total_time="${FUZZ_SECONDS:-60}" -max_len=65536 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$found/"
