# 0: the last version goes, and no other comes.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
  systemctl --no-reload disable --now s3-orchestrator.service || :
fi
