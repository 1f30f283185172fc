#!/bin/sh
# Benchmarks: tests/bench/run.sh prints the ratios.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh
scripts/test-deps.sh
exec tests/bench/run.sh "$@"
