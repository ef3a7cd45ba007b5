#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent of this node. Its run folder is the lab's, so that a lab may be up
# twice. It may be killed by agent.pid and started again.
set -eu
run=${ONEVIP_RUN:-/run/onevip}
mkdir -p "$run"
sh "$(dirname "$0")/held.sh" agent
echo $$ >"$run/agent.pid"
exec onevip agent --node "${ONEVIP_HOST:-$(hostname)}" --interface eth0 --run-dir "$run"
