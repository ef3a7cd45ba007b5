#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# streams.sh COUNT SECONDS: so many slow downloads side by side. A line for each
# at its end: the node that served it, curl's exit code (56: reset, 28: it still
# went on), and when that was, in milliseconds.
set -u
for ((i = 1; i <= $1; i++)); do
	(
		end=$(curl -s -o /dev/null --limit-rate 40k --max-time "$2" --interface "10.77.1.$i" \
			-w '%header{x-node} %{exitcode}' http://10.77.0.1/1g)
		echo "$end $(date +%s%3N)"
	) &
done
wait
