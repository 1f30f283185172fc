#!/bin/sh
# fuzz.sh [SECONDS [TARGET...]]: runs each fuzz target for some seconds (5) from its committed
# corpus. Needs no nightly toolchain and no cargo-fuzz: coverage is an option of the compiler. An
# input that breaks a target is kept in tests/fuzz/artifacts.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh

seconds="${1:-5}"
[ $# -eq 0 ] || shift
targets="$*"
# "host: x86_64-unknown-linux-gnu"; with a target named, build scripts are not instrumented.
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
export RUSTFLAGS="--cfg fuzzing $coverage"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR%/}/fuzz"
[ -n "$targets" ] || targets=$(ls tests/fuzz/corpus)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --release --locked --manifest-path tests/fuzz/Cargo.toml --target "$host" --bins

# run TARGET: new inputs go to a copy of the corpus, so that the clone stays clean.
run() {
  cp -r "tests/fuzz/corpus/$1" "$work/$1"
  mkdir -p "tests/fuzz/artifacts/$1"
  timeout $((seconds + 60)) "$CARGO_TARGET_DIR/$host/release/$1" "$work/$1" \
    -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="tests/fuzz/artifacts/$1/" >"$work/log" 2>&1
}

passed=0
failed=0
for target in $targets; do
  if run "$target"; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
    echo "fuzz: $target ok, $runs inputs"
    passed=$((passed + 1))
  else
    tail -n 40 "$work/log" >&2
    echo "fuzz: $target FAILED: the input is in tests/fuzz/artifacts/$target" >&2
    failed=$((failed + 1))
  fi
  rmdir "tests/fuzz/artifacts/$target" 2>/dev/null || true
done
rmdir tests/fuzz/artifacts 2>/dev/null || true

echo "fuzz: $passed targets passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
