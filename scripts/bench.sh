#!/bin/sh
# Measures the release-built node beside what the machine can do. Arguments go to the program:
# --quick for a run that only shows that it works, names of sections to run only those.
set -eu
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/packages.sh
scripts/deps.sh

# The program is wanted, not the service: in this runlevel installing it does not start it.
RUNLEVEL=1 want nginx nginx-light
# rclone, where `make test` has brought it.
PATH="$PATH:$S3O_VENV/bin"
exec cargo bench --locked --package s3-orchestrator --bench bench -- "$@"
