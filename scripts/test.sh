#!/usr/bin/env bash
# Every test, against the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
cargo build --release --locked -p s3-orchestrator
cargo test --release --locked --workspace
