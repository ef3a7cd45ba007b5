#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# node.sh AGENT: a server node, whose web server holds a part of its files in
# memory and has the others on a slow disk. AGENT is the script that starts the
# agent which makes it a part of the cluster.
set -eu
export ONEVIP_PIN_DIR="${ONEVIP_PIN_DIR:-/sys/fs/bpf/onevip/${ONEVIP_HOST:-$(hostname)}}"

for interface in eth0 eth1; do
	until ip -o -4 addr show dev "$interface" 2>/dev/null | grep -q inet; do sleep 0.05; done
done

sh "$1" &

# Who measures reads each node's counts at the node's own address.
own=$(ip -o -4 addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4; exit }')
onevip lab origin --node "${ONEVIP_HOST:-$(hostname)}" --listen :80,:81,:82,:83 --control "$own:9080" $ORIGIN &
wait
