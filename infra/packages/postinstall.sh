#!/bin/sh
# Creates the user of the services. It starts and enables nothing, because the
# services need settings first.
set -e
if ! getent passwd dispatch >/dev/null; then
	nologin=$(command -v nologin) || nologin=/bin/false
	useradd --system --user-group --no-create-home --home-dir /nonexistent --shell "$nologin" dispatch
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
