#!/bin/sh
# The agent of this node.
set -eu
exec onevip agent --config "$(dirname "$0")/cluster.yaml" --node "${ONEVIP_HOST:-$(hostname)}" --interface eth0
