#!/bin/sh
# The controller, with an etcd member inside of it.
set -eu
lab=$(dirname "$0")
until ip -o addr show dev eth1 2>/dev/null | grep -q 172.31.77.2/; do sleep 0.05; done
export ONEVIP_ETCD_DATA_DIR="${ONEVIP_RUN:-/var/lib/onevip}/etcd"
exec onevip controller --config "$lab/cluster.yaml"
