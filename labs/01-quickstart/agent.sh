#!/bin/sh
# The agent of this node. Its run folder is the lab's, so that a lab may be up
# twice.
set -eu
exec onevip agent --config "$(dirname "$0")/cluster.yaml" --node "${ONEVIP_HOST:-$(hostname)}" --interface eth0 \
	--run-dir "${ONEVIP_RUN:-/run/onevip}"
