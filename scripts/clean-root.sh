#!/bin/sh
# Makes the clean root that the tests of the packages install into, once: the smallest Debian of this machine's release, with
# systemd, as an archive beside the build cache.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/packages.sh

[ ! -e "$S3O_CLEAN_ROOT" ] || exit 0
want debootstrap debootstrap
. /etc/os-release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
as_root debootstrap --variant=minbase --include=systemd "$VERSION_CODENAME" "$work/root" >"$work/log" 2>&1 || {
  tail -n 20 "$work/log" >&2
  exit 1
}
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
mkdir -p "$(dirname "$S3O_CLEAN_ROOT")"
as_root tar -C "$work/root" -cf "$S3O_CLEAN_ROOT.new" .
mv "$S3O_CLEAN_ROOT.new" "$S3O_CLEAN_ROOT"
