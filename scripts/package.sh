#!/bin/sh
# package.sh deb|rpm [OPTION...]: makes a package of the node in $CARGO_TARGET_DIR/debian or .../generate-rpm, and says where. Options
# are for cargo-deb or cargo-generate-rpm. With S3O_NO_BUILD set, of the binary that is there.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh
scripts/package-tools.sh
kind="${1:-}"
[ $# -eq 0 ] || shift

release="$CARGO_TARGET_DIR/release"
[ -n "${S3O_NO_BUILD:-}" ] || cargo build --release --locked --package s3-orchestrator

rm -rf "$release/package"
"$release/s3-orchestrator" generate "$release/package"

case "$kind" in
  deb)
    gzip -9n "$release"/package/man1/*.1
    exec "$S3O_TOOLS/bin/cargo-deb" --quiet --no-build --strip --no-separate-debug-symbols --locked --package s3-orchestrator "$@"
    ;;
  rpm)
    strip -o "$release/package/s3-orchestrator" "$release/s3-orchestrator"
    "$S3O_TOOLS/bin/cargo-generate-rpm" generate-rpm --package src/node "$@"
    # The newest: there may be other versions.
    find "$CARGO_TARGET_DIR/generate-rpm" -name '*.rpm' -printf '%T@ %p\n' | sort -n | sed -n '$s/^[^ ]* //p'
    ;;
  *)
    echo "package.sh deb|rpm" >&2
    exit 2
    ;;
esac
