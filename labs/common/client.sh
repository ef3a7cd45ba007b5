#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# 64 client addresses of each family on eth0. The first is the default source.
set -eu
sysctl -qw net.ipv6.conf.eth0.accept_dad=0 net.ipv4.ip_local_port_range="1024 65535"
{
	for i in $(seq 1 64); do
		echo "addr add 10.77.1.$i/16 dev eth0"
		printf 'addr add fd77::1:%x/64 dev eth0 nodad\n' "$i"
	done
	echo "route replace fd77::/64 dev eth0 metric 256 src fd77::1:1"
} | ip -batch -
