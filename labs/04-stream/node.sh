#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# node.sh AGENT: a server node, which serves the film; AGENT is the script that
# starts the agent which makes it a part of the cluster.
set -eu
lab=$(dirname "$0")
run=${ONEVIP_RUN:-/run/onevip}
shared=${ONEVIP_FILES:-$lab/.shared} # all nodes of the lab see this folder
export ONEVIP_PIN_DIR="${ONEVIP_PIN_DIR:-/sys/fs/bpf/onevip/${ONEVIP_HOST:-$(hostname)}}"

for interface in eth0 eth1; do
	until ip -o -4 addr show dev "$interface" 2>/dev/null | grep -q inet; do sleep 0.05; done
done

sh "$1" &

mkdir -p "$run" "$shared"
flock "$shared/lock" sh "$lab/film.sh" "$shared" # the first node makes it, the others wait
onevip stream serve --listen :80 --rate auto --burst 2s --key-file "$shared/keys" "$shared/films" &
wait
