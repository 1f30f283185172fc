systemd-tmpfiles --create s3-orchestrator.conf || :
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload || :
fi
if [ "$1" -eq 1 ]; then
  echo "s3-orchestrator is installed and not started: see man 7 s3-orchestrator"
fi
