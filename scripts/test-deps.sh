#!/bin/sh
# Installs what the tests need beside the build: tools of the crash rigs, the clients of the guide.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/packages.sh
scripts/deps.sh

want mkfs.ext4 e2fsprogs
want losetup mount
want curl curl
want strace strace
want openssl openssl
want nginx nginx-light
want caddy caddy
want fusermount3 fuse3
want rsync rsync
want git git
want sqlite3 sqlite3
want mandoc mandoc
want lintian lintian
want rpm rpm
want rpmlint rpmlint
scripts/package-tools.sh
scripts/clean-root.sh || echo "there is no clean root: packages will not be installed" >&2
want setpriv util-linux
want buildah buildah
want systemd-nspawn systemd-container

# Suites that others wrote for file systems. Nothing happens where they are installed already.
for suite in pjdfstest@0.2.2 fsx@0.3.2; do
  cargo install --quiet --locked --root "$S3O_TOOLS" "$suite" || echo "$suite is not installed: its test is left out" >&2
done

requirements=tests/clients/requirements.txt
[ -f "$requirements" ] || exit 0
want go golang-go
want python3 python3
python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
if ! cmp -s "$requirements" "$S3O_VENV/requirements.installed"; then
  python3 -m venv --clear "$S3O_VENV"
  "$S3O_VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
  cp "$requirements" "$S3O_VENV/requirements.installed"
fi
