#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The controller, with an etcd member inside of it. It may be killed by
# controller.pid and started again; what etcd stores outlives a reboot.
set -eu
until ip -o -4 addr show dev eth1 2>/dev/null | grep -q inet; do sleep 0.05; done
run=${ONEVIP_RUN:-/run/onevip}
mkdir -p "$run"
sh "$(dirname "$0")/held.sh" controller
echo $$ >"$run/controller.pid"
export ONEVIP_ETCD_DATA_DIR="${ONEVIP_DATA:-/var/lib/onevip}/etcd"
exec onevip controller
