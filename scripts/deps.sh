#!/usr/bin/env bash
# Installs what is missing: `deps.sh build` for the build, `deps.sh test` for the tests as well.
set -euo pipefail
case "${1:-build}" in build | test) ;; *) echo "usage: deps.sh build|test" >&2; exit 2 ;; esac

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need c++ g++
need make make
need ccache ccache
need clang clang
ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1 || missing+=(libclang-dev)
if [ "${1:-build}" = test ]; then
  need curl curl
  need mkfs.ext4 e2fsprogs
fi
if [ "${#missing[@]}" -gt 0 ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  echo "installing: ${missing[*]}"
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
if ! command -v cargo >/dev/null 2>&1; then
  echo "cargo is missing: install the Rust toolchain (rustup, stable), then run this again" >&2
  exit 1
fi
