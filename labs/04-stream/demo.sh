#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Brings lab 04-stream up if it is not, plays the film through the relay, crashes
# the node that sends it, and shows what happened and what the player noticed. It
# may be run again; the lab stays up.
set -euo pipefail
cd "$(dirname "$0")/../.."

lab=04-stream
onevip=bin/onevip
work=$(mktemp -d)
trap 'rm -rf "$work"; "$onevip" lab heal --all --lab $lab >/dev/null' EXIT

in_client() { "$onevip" lab exec --lab $lab client -- "$@"; }
now() { date +%s%3N; }

# settled: all nodes are up and the cluster says that it is well.
settled() {
	for ((i = 0; i < 120; i++)); do
		"$onevip" status --lab $lab >/dev/null && return
		sleep 0.5
	done
	"$onevip" status --lab $lab
	exit 1
}

# play: an ordinary player. It keeps the film, and the times at which it read.
play() {
	in_client curl -fsSN --trace-time --trace-ascii - -o "$work/film.ts" http://127.0.0.1:8000/ |
		grep -F '<= Recv data' >"$work/reads"
}

# owner: the node that sends the film, or nothing while nobody knows.
owner() {
	local from
	from=$(in_client ss -Htn state established dst 10.77.0.1 | awk 'NR == 1 {print $3}')
	[ -n "$from" ] || return 0
	"$onevip" conns --lab $lab --client "$from" -o json | jq -r '.conns[0].node // empty'
}

# since WHEN: lines that begin with an RFC 3339 time, with the milliseconds
# since then instead; none from before it.
since() {
	while read -r at text; do
		((at = $(date -d "$at" +%s%3N) - $1)) || true
		((at < 0)) || printf '  %6d ms  %s\n' "$at" "$text"
	done | sort -s -n -k 1,1
}

# story: what the cluster decided, and what the relay saw.
story() {
	"$onevip" events --lab $lab -o json | jq -r '.events[] | .time + " " + .kind + ": " + .text'
	in_client sh -c 'cat "$ONEVIP_RUN/log"' |
		sed -En 's/^time=([^ ]+) .* msg="(server lost|stream resumed)".* (cause|outage)=/\1 relay: \2, \3 /p'
}

# longest_wait: the longest time between two reads of the player's.
longest_wait() {
	awk '{
		split($1, part, ":"); at = (part[1] * 60 + part[2]) * 60 + part[3]
		if (NR > 1) { wait = at - last; if (wait < 0) wait += 86400; if (wait > worst) worst = wait }
		last = at
	} END { printf "%d reads, the longest wait between two of them %d ms\n", NR, worst * 1000 }' "$work/reads"
}

if ! "$onevip" lab status $lab >/dev/null 2>&1; then
	"$onevip" lab down $lab >/dev/null
	"$onevip" lab up $lab
fi
settled

echo
echo "A player reads 20 seconds of film from the relay, at the film's bitrate"
play &
player=$!
for ((i = 0; i < 50; i++)); do
	node=$(owner)
	[ -z "$node" ] || break
	sleep 0.2
done
[ -n "$node" ] || { echo "nobody tells which node sends the film: onevip conns --lab $lab" >&2; exit 1; }
sleep 2
when=$(now)
"$onevip" lab fault --lab $lab "$node" crash >/dev/null
echo "$node, which sends it, crashes"
wait $player
story | since "$when"
echo
echo "The player: $(longest_wait)"
film=$(in_client sh -c 'sha256sum <"$ONEVIP_FILES/films/film.ts"')
if [ "$film" = "$(sha256sum <"$work/film.ts")" ]; then
	echo "It has the film, byte for byte: sha256 ${film%% *}"
else
	echo "What it has is NOT the film" >&2
	exit 1
fi
echo
echo "$node boots"
"$onevip" lab heal --lab $lab "$node" >/dev/null
settled

cat <<END

The lab stays up. Go on:
  $onevip events --lab $lab      what was decided, and when
  $onevip lab exec --lab $lab client -- ffplay http://127.0.0.1:8000/
  $onevip lab fault --help              more harm, while it plays
Take it down, nothing stays:
  $onevip lab down $lab
END
