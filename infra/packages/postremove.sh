#!/bin/sh
# Lets systemd read its units again after they have changed or gone.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
