#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The controller, with an etcd member inside of it. It may be killed by
# controller.pid and started again.
set -eu
lab=$(dirname "$0")
until ip -o addr show dev eth1 2>/dev/null | grep -q 172.31.77.2/; do sleep 0.05; done
run=${ONEVIP_RUN:-/run/onevip}
mkdir -p "$run"
echo $$ >"$run/controller.pid"
export ONEVIP_ETCD_DATA_DIR="$run/etcd"
exec onevip controller --config "$lab/cluster.yaml"
