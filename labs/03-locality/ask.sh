#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ask.sh PORT HEADER: each file that stdin names, once from each of 16 client
# addresses, half of them IPv6's, a connection each; HEADER (or none) goes with
# it. Prints a line per answer: the URL, who sent it, from where, its bytes.
set -euo pipefail
mapfile -t files

from() { # ADDRESS URL-PREFIX HEADER
	for file in "${files[@]}"; do
		printf 'url = "%s%s"\noutput = /dev/null\n' "$2" "$file"
	done | curl -sS --interface "$1" -K - -H 'Connection: close' ${3:+-H "$3"} \
		-w '%{url} %header{x-node} %header{x-cache} %{size_download}\n'
}

for ((i = 1; i <= 8; i++)); do
	from "10.77.1.$i" "http://10.77.0.1:$1" "${2:-}"
	from "fd77::1:$i" "http://[fd77::1]:$1" "${2:-}"
done
