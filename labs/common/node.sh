#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A server node: nginx, and the agent that makes it a part of the cluster.
set -eu
common=$(dirname "$0")
name=${ONEVIP_HOST:-$(hostname)}
run=${ONEVIP_RUN:-/run/onevip}
data=${ONEVIP_DATA:-/var/lib/onevip}
files=${ONEVIP_FILES:-$data/files}
export ONEVIP_PIN_DIR="${ONEVIP_PIN_DIR:-/sys/fs/bpf/onevip/$name}"

# content BYTES NAME: the same bytes as the lab runner writes.
content() {
	head -c "$1" /dev/zero |
		openssl enc -aes-128-ctr -nosalt -K 6f6e65766970206c61622066696c6573 -iv 0 >"$files/$2"
}

for interface in eth0 eth1; do
	until ip -o -4 addr show dev "$interface" 2>/dev/null | grep -q inet; do sleep 0.05; done
done

mkdir -p "$run" "$data/upload" "$data/tmp" "$files"
chown www-data "$data/upload" "$data/tmp"
if [ -z "${ONEVIP_FILES:-}" ]; then # containerlab: nobody else makes them
	content 1024 1k
	content 1048576 1m
	content 1073741824 1g
fi

sed -e "s|@NAME@|$name|g" -e "s|@RUN@|$run|g" -e "s|@DATA@|$data|g" -e "s|@FILES@|$files|g" \
	"$common/nginx.conf.in" >"$run/nginx.conf"
nginx -c "$run/nginx.conf" -e "$run/nginx-error.log" &

# The agent may be killed and started again in its place with agent.sh; nginx
# and the connections that it serves go on.
sh "$common/agent.sh" &
wait
