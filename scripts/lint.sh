#!/bin/sh
# Formatting and lints. A tool that is not installed is loudly skipped; what it finds is an error.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh

# The fuzz targets are a workspace of their own: their lock file has to follow the crates.
cargo metadata --locked --format-version 1 --manifest-path tests/fuzz/Cargo.toml >/dev/null

if cargo fmt --version >/dev/null 2>&1; then
  cargo fmt --all -- --check
else
  echo "lint: RUSTFMT IS NOT INSTALLED: formatting was not checked" >&2
fi

if cargo clippy --version >/dev/null 2>&1; then
  cargo clippy --release --locked --workspace --all-targets -- -D warnings
else
  echo "lint: CLIPPY IS NOT INSTALLED: lints were not checked" >&2
fi
