#!/bin/sh
# install.sh DESTDIR PREFIX SYSCONFDIR: puts a built node where a system expects it. A configuration
# that is already there is kept.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh
destdir="$1" prefix="$2" sysconfdir="$3"

put() { # MODE SOURCE TARGET
  install -D -m "$1" "$2" "$destdir$3"
}

put 0755 "$CARGO_TARGET_DIR/release/s3-orchestrator" "$prefix/bin/s3-orchestrator"
# mount(8) looks for its helpers there only.
install -d "$destdir/sbin"
ln -sf "$prefix/bin/s3-orchestrator" "$destdir/sbin/mount.s3-orchestrator"
generated="$CARGO_TARGET_DIR/release/package"
rm -rf "$generated"
"$CARGO_TARGET_DIR/release/s3-orchestrator" generate "$generated"
for page in "$generated"/man1/*.1; do
  put 0644 "$page" "$prefix/share/man/man1/$(basename "$page")"
done
put 0644 man/s3-orchestrator.7 "$prefix/share/man/man7/s3-orchestrator.7"
put 0644 "$generated/completions/s3-orchestrator" "$prefix/share/bash-completion/completions/s3-orchestrator"
put 0644 "$generated/completions/_s3-orchestrator" "$prefix/share/zsh/site-functions/_s3-orchestrator"
put 0644 "$generated/completions/s3-orchestrator.fish" "$prefix/share/fish/vendor_completions.d/s3-orchestrator.fish"
put 0644 man/s3-orchestrator-mount.8 "$prefix/share/man/man8/s3-orchestrator-mount.8"
put 0644 man/mount.s3-orchestrator.8 "$prefix/share/man/man8/mount.s3-orchestrator.8"
put 0644 man/s3-orchestrator.toml.5 "$prefix/share/man/man5/s3-orchestrator.toml.5"
put 0644 packaging/s3-orchestrator.service "$prefix/lib/systemd/system/s3-orchestrator.service"
put 0644 packaging/s3-orchestrator.sysusers "$prefix/lib/sysusers.d/s3-orchestrator.conf"
put 0644 packaging/s3-orchestrator.tmpfiles "$prefix/lib/tmpfiles.d/s3-orchestrator.conf"
put 0644 packaging/mounts.conf "$prefix/share/s3-orchestrator/mounts.conf"
put 0644 LICENSE "$prefix/share/doc/s3-orchestrator/LICENSE"
put 0644 README.md "$prefix/share/doc/s3-orchestrator/README.md"
config="$sysconfdir/s3-orchestrator/config.toml"
[ -e "$destdir$config" ] || put 0640 packaging/config.toml "$config"
# The unit names it.
install -d -m 0750 "$destdir$sysconfdir/s3-orchestrator/secrets"
