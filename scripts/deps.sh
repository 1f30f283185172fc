#!/bin/sh
# Installs what the build needs, where it is missing: libclang for the bindings of RocksDB, a C++
# compiler for RocksDB itself, ccache so that it is compiled once.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh

if command -v apt-get >/dev/null 2>&1; then
  install_packages libclang-dev clang ccache cmake make g++ pkg-config ca-certificates
else
  for tool in clang c++ make; do
    command -v "$tool" >/dev/null 2>&1 || {
      echo "there is no apt-get here: install $tool and libclang with your system's packages" >&2
      exit 1
    }
  done
fi

if ! command -v cargo >/dev/null 2>&1; then
  echo "cargo is missing: install the Rust toolchain (rustup, stable), then run this again" >&2
  exit 1
fi
