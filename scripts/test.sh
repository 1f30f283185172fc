#!/bin/bash
# Every test: the rooms, the node (crashes and power cuts included), the clients of the guide, the
# packages, a short run of the fuzz targets. Ends with one line "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

passed=0
failed=0
broken=""
log="$(mktemp -d)"
trap 'rm -rf "$log"' EXIT

note_failure() { # STEP
  broken="$broken $1"
  echo "test: $1 FAILED" >&2
}

# Adds up "test result: ok. 12 passed; 1 failed; ..." of cargo.
count_cargo() { # FILE
  local sums
  sums=$(awk '/^test result: /{for(i=1;i<NF;i++){if($(i+1)~/^passed/)p+=$i;if($(i+1)~/^failed/)f+=$i}}END{print p+0,f+0}' "$1")
  passed=$((passed + ${sums% *}))
  failed=$((failed + ${sums#* }))
}

# Reads "==== 12 passed, 1 failed, 2 skipped in 3.4s ====" of pytest; errors count as failures.
count_pytest() { # FILE
  local sums
  sums=$(grep -E '(passed|failed|error).* in [0-9.]+' "$1" | tail -1 |
    awk '{gsub(/[=,]/," ");for(i=1;i<NF;i++){if($(i+1)=="passed")p+=$i;if($(i+1)=="failed"||$(i+1)~/^error/)f+=$i}}END{print p+0,f+0}')
  sums="${sums:-0 0}"
  passed=$((passed + ${sums% *}))
  failed=$((failed + ${sums#* }))
}

scripts/test-deps.sh || note_failure test-deps

# Built first, so that a failure to build is seen alone; with the node that the clients speak to. All at
# once: for a package of its own cargo would choose other features and build the dependencies again.
cargo test --release --locked --workspace --no-run || note_failure build

cargo test --release --locked --workspace --no-fail-fast 2>&1 | tee "$log/cargo" || note_failure cargo-test
count_cargo "$log/cargo"

if compgen -G 'tests/clients/test_*.py' >/dev/null; then
  S3O_BINARY="$CARGO_TARGET_DIR/release/s3-orchestrator" \
    "$S3O_VENV/bin/python" -m pytest tests/clients -q -rs -p no:cacheprovider --basetemp="$log/c" 2>&1 | tee "$log/pytest" || note_failure clients
  count_pytest "$log/pytest"
fi

S3O_BINARY="$CARGO_TARGET_DIR/release/s3-orchestrator" \
  "$S3O_VENV/bin/python" -m pytest tests/packages -q -rs -p no:cacheprovider --basetemp="$log/p" 2>&1 | tee "$log/packages" || note_failure packages
count_pytest "$log/packages"

if [ -x scripts/fuzz.sh ]; then
  if scripts/fuzz.sh; then passed=$((passed + 1)); else failed=$((failed + 1)); note_failure fuzz; fi
fi

# A step that broke without a failed test (it did not compile, it did not install) is a failure too.
if [ -n "$broken" ]; then
  echo "test: broken steps:$broken" >&2
  [ "$failed" -gt 0 ] || failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
