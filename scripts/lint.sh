#!/usr/bin/env bash
# Formatting and lints. A tool that is not installed is named loudly and passed over.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
if cargo fmt --version >/dev/null 2>&1; then
  cargo fmt --all --check
else
  echo "WARNING: rustfmt is not installed: formatting was NOT checked" >&2
fi
if cargo clippy --version >/dev/null 2>&1; then
  cargo clippy --release --locked --workspace --all-targets -- -D warnings
else
  echo "WARNING: clippy is not installed: lints were NOT checked" >&2
fi
