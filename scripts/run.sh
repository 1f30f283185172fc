#!/bin/sh
# Builds the node and starts it in this directory: the first start makes ./data and
# ./s3-orchestrator.toml, and prints how to use them.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh

scripts/deps.sh
cargo build --release --locked --package s3-orchestrator
exec "$CARGO_TARGET_DIR/release/s3-orchestrator" --log text serve "$@"
