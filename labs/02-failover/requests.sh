#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# requests.sh SECONDS [PER_SECOND]: new connections at a steady rate, whether
# the ones before were answered or not. A line for each: when it began and how
# long the connect took (0: there was none), in milliseconds, then curl's exit
# code.
set -u
rate=${2:-25}
for ((i = 0; i < $1 * rate; i++)); do
	(
		began=$(date +%s%3N)
		took=$(curl -s -o /dev/null --connect-timeout 10 --max-time 12 --interface "10.77.1.$((i % 64 + 1))" \
			-w '%{time_connect} %{exitcode}' http://10.77.0.1/whoami)
		echo "$began $took" | awk '{print $1, $2 * 1000, $3}'
	) &
	sleep "$(awk "BEGIN {print 1 / $rate}")"
done
wait
