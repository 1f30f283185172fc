#!/bin/sh
# Installs what the tests need beside the build: the clients of the guide, tools of the crash rigs.
# Prints what it could not get: tests that need it say so again.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh
scripts/deps.sh

want() { # COMMAND PACKAGE
  command -v "$1" >/dev/null 2>&1 && return 0
  command -v apt-get >/dev/null 2>&1 || { echo "test-deps: $1 is missing" >&2; return 0; }
  [ "$(id -u)" = 0 ] && sudo="" || sudo=sudo
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null ||
    echo "test-deps: could not install $2: tests that need $1 will say so" >&2
}

want mkfs.ext4 e2fsprogs
want losetup mount
want curl curl
want rclone rclone
want strace strace
want nginx nginx-light
want python3 python3
python3 -c 'import ensurepip' 2>/dev/null || want venv-of-python3 python3-venv
command -v go >/dev/null 2>&1 || want go golang-go

requirements=tests/clients/requirements.txt
if [ -f "$requirements" ]; then
  venv="$S3O_VENV"
  stamp="$venv/requirements.installed"
  if ! cmp -s "$requirements" "$stamp"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$stamp"
  fi
fi
