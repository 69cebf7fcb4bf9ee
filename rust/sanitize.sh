#!/bin/sh
# The core's tests under AddressSanitizer, then ThreadSanitizer: `make sanitize`. Needs a nightly
# toolchain with its source, because the standard library is built with the sanitizer, too.
set -eu
if ! [ -d "$(rustc +nightly --print sysroot 2>/dev/null)/lib/rustlib/src" ]; then
    echo 'make sanitize needs nightly Rust: rustup toolchain install nightly --component rust-src' >&2
    exit 1
fi
target=$(rustc +nightly --version --verbose | sed -n 's/^host: //p')
# A sanitized program takes ten times as long: fewer cases of each law.
export PROPTEST_CASES="${PROPTEST_CASES:-4}"
sanitized() {
    echo "== $1"
    sanitizer=$1
    shift
    RUSTFLAGS="-Zsanitizer=$sanitizer" CARGO_TARGET_DIR="$CARGO_TARGET_DIR/$sanitizer" \
        cargo +nightly test --quiet -Zbuild-std --target "$target" --package runbus-core --lib "$@"
}
sanitized address --test life --test follow --test properties --test segments
# The tests that have threads beside each other; the laws have hours to run under it.
sanitized thread --test life --test follow
