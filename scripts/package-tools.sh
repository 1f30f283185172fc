#!/bin/sh
# Installs cargo-deb and cargo-generate-rpm beside the build cache, and what they ask for of the system. Their speed does not
# matter: they are built fast, not to be fast.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/packages.sh

# tool NAME VERSION [OPTION...]
tool() {
  name="$1" version="$2"
  shift 2
  installed=$("$S3O_TOOLS/bin/$name" --version 2>/dev/null || true)
  case "$installed" in *"$version"*) return 0 ;; esac
  env -u CC -u CXX CARGO_TARGET_DIR="$S3O_TOOLS/target" CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0 \
    nice -n 15 cargo install --quiet --locked --debug --root "$S3O_TOOLS" "$name" --version "$version" "$@"
  rm -rf "$S3O_TOOLS/target"
}

want dpkg-shlibdeps dpkg-dev
want strip binutils
tool cargo-deb 3.8.0 --no-default-features --features gzip
tool cargo-generate-rpm 0.21.1
