#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Brings lab 03-locality up if it is not, asks for the same files from many
# client addresses, and shows who served which, and from where. It may be run
# again; the lab stays up. SET=PATH=VALUE is a setting of the cluster for a lab
# that is not up yet: SET='services[0].policy=round-robin'.
set -euo pipefail
cd "$(dirname "$0")/../.."

lab=03-locality
onevip=bin/onevip
nodes="10.77.0.11 10.77.0.12 10.77.0.13 10.77.0.14"

in_client() { "$onevip" lab exec --lab $lab client -- "$@"; }

# each_node CURL-ARGUMENTS... PATH: a request to each node's own address.
each_node() {
	local path=${*: -1}
	for node in $nodes; do in_client curl -fsS "${@:1:$#-1}" "http://$node:9080$path"; done
}

# ask PORT DIRECTORIES [HEADER]: four files of each of the first directories.
ask() {
	local directory file
	for ((directory = 0; directory < $2; directory++)); do
		for file in 0-0 1-0 2-0 3-0; do printf '/download/dir%05d/%s\n' "$directory" "$file"; done
	done | in_client bash /lab/ask.sh "$1" "${3:-}"
}

# table COLUMN: who sent what; a line for each value of a column, and their sum.
table() {
	awk -v column="$1" '
		{ sub("http://[^/]*", "", $1); sub("^/download/", "", $1); row = $column }
		!(row in all) { order[++rows] = row }
		{ all[row]++; by[row, $2]++; cache[row, $3]++; sum[$3]++; total++ }
		END {
			printf "  %-12s %4s %4s %4s %4s    %5s %5s %7s\n", "", "n1", "n2", "n3", "n4", "hits", "miss", "shared"
			for (i = 1; i <= rows; i++) {
				row = order[i]
				printf "  %-12s", row
				for (n = 1; n <= 4; n++) printf " %4s", by[row, "n" n] ? by[row, "n" n] : "."
				printf "    %5d %5d %7d\n", cache[row, "hit"], cache[row, "miss"], cache[row, "shared"]
			}
			printf "  hit ratio %.1f%%: of %d requests %d found their file in memory\n", 100 * sum["hit"] / total, total, sum["hit"]
		}'
}

if ! "$onevip" lab status $lab >/dev/null 2>&1; then
	"$onevip" lab down $lab >/dev/null
	"$onevip" lab up ${SET:+--set "$SET"} $lab
fi

policy() { "$onevip" services --lab $lab -o json | jq -r --arg name "$1" '.services[] | select(.name == $name).policy'; }

forget() { each_node -X POST /origin/flush; }

forget # what an earlier run left in memory
echo
echo "Port 80, $(policy web): each file 16 times, from 16 clients; who sent it, and was it in memory"
ask 80 4 | table 1
forget
echo
echo "Port 83, $(policy plain): some of the same files, after the nodes forgot them"
ask 83 2 | table 1
forget
echo
echo "Port 81, $(policy bounded): the same"
ask 81 2 | table 1
forget
echo
echo "Port 82, $(policy sessions): six sessions ask for four files each, from 16 clients"
for session in ann bob cem dai eve fay; do
	ask 82 1 "x-session: $session" | sed "s|^[^ ]*|$session|"
done | table 1
echo
echo "What the nodes have in memory now, and what their disks have read"
each_node /origin/stats | jq -r '"  \(.node)  \(.cache_files) files, \(.cache_bytes / 1e6 * 10 | round / 10) of \(.cache_limit / 1e6 | round) MB; \(.storage_bytes_read / 1e6 | round) MB read since the start"'
echo
sleep 5 # agents tell what was asked for every few seconds
"$onevip" locality top --lab $lab

cat <<END

The lab stays up. Go on:
  $onevip bench locality --help                what it is worth under load
  $onevip locality show --lab $lab --service web /download/dir00003/2-0
  $onevip lab exec --lab $lab client -- curl -sI http://10.77.0.1/download/dir00003/2-0
Take it down, nothing stays:
  $onevip lab down $lab
END
