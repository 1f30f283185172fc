if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload || :
  if [ "$1" -ge 1 ]; then
    systemctl try-restart s3-orchestrator.service || :
  fi
fi
# What people stored is not the package's to delete.
if [ "$1" -eq 0 ] && [ -e /var/lib/s3-orchestrator ]; then
  echo "s3-orchestrator: /var/lib/s3-orchestrator is kept; delete it yourself if nobody needs it"
fi
