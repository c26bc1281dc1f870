#!/bin/sh
# Stops the services before the package is removed. An upgrade stops nothing: its
# argument is "upgrade" (deb) or 1 (rpm). The user remains, because files may
# belong to it.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now dispatch-ingest dispatch-dispatcher dispatch-sender
	fi
	;;
esac
