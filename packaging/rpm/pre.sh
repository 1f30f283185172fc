# Before any file that belongs to the group.
systemd-sysusers --replace=/usr/lib/sysusers.d/s3-orchestrator.conf - <<'USERS' >/dev/null
u s3-orchestrator - "S3 storage node" /var/lib/s3-orchestrator
USERS
