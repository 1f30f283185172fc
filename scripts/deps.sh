#!/bin/sh
# Installs what the build needs, where it is missing: libclang for the bindings of RocksDB, a C++
# compiler for RocksDB itself, ccache so that it is compiled once.
set -eu

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    echo "deps: this needs root or sudo: $*" >&2
    return 1
  fi
}

install_packages() {
  missing=""
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  echo "deps: installing$missing"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  # Unquoted: a list of words.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

if command -v apt-get >/dev/null 2>&1; then
  install_packages libclang-dev clang ccache cmake make g++ pkg-config ca-certificates
else
  for tool in clang c++ make; do
    command -v "$tool" >/dev/null 2>&1 || {
      echo "deps: no apt-get here; install $tool and libclang with your system's packages" >&2
      exit 1
    }
  done
fi

if ! command -v cargo >/dev/null 2>&1; then
  echo "deps: cargo is missing. Install Rust 1.92 or later, for example with rustup:" >&2
  echo "deps:   apt-get install rustup && rustup toolchain install stable" >&2
  exit 1
fi
