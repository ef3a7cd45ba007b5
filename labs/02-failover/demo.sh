#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Brings lab 02-failover up if it is not, crashes the node that answers SYNs and
# then one that serves connections, and shows what clients noticed. It may be
# run again; the lab stays up. SET=PATH=VALUE is a setting of the cluster for a
# lab that is not up yet: SET=speculation.delay=off.
set -euo pipefail
cd "$(dirname "$0")/../.."

lab=02-failover
streams=${STREAMS:-32}
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

# crash NODE: when, in milliseconds.
crash() {
	now
	"$onevip" lab fault --lab $lab "$1" crash >/dev/null
}

# heal NODE: it boots, and the cluster takes it back.
heal() {
	"$onevip" lab heal --lab $lab "$1" >/dev/null
	settled
}

# connects FROM TO: of what requests.sh wrote, that began in this span, how long
# the connects took, as a picture.
connects() {
	awk -v from="$1" -v to="$2" '
		BEGIN { n = split("5 20 50 400 1000 10000", limit) }
		$1 < from || $1 >= to { next }
		{ all++ }
		$2 == 0 { failed++; next }
		$3 != 0 { unanswered++ }
		{ for (i = 1; i < n && $2 > limit[i]; i++); count[i]++; if ($2 > worst) worst = $2 }
		END {
			for (i = 1; i <= n; i++) if (count[i]) {
				bar = ""; for (k = 0; k < 40 * count[i] / all; k++) bar = bar "#"
				printf "    up to %5d ms  %4d  %s\n", limit[i], count[i], bar
			}
			printf "    %d connects, the slowest %d ms, %d failed\n", all, worst, failed
			if (unanswered) printf "    %d of them were connected to the node that crashed before it answered\n", unanswered
		}' "$work/requests"
}

# ends NODE WHEN: how the downloads ended that NODE served, and the others.
ends() {
	awk -v node="$1" -v when="$2" '
		$1 != node { others++; if ($2 != 28) lost++; next }
		{ own++ }
		$2 == 56 { reset[++resets] = $3 - when }
		END {
			for (i = 1; i <= resets; i++) for (k = i + 1; k <= resets; k++)
				if (reset[k] < reset[i]) { t = reset[i]; reset[i] = reset[k]; reset[k] = t }
			printf "    %d of its %d downloads were reset", resets, own
			if (resets) printf ", after %d ms, %d ms in the middle, %d ms at most", reset[1], reset[int((resets + 1) / 2)], reset[resets]
			printf "\n    %d of the other nodes'\'' %d downloads ended\n", lost, others
		}' "$work/streams"
}

if ! "$onevip" lab status $lab >/dev/null 2>&1; then
	"$onevip" lab down $lab >/dev/null
	"$onevip" lab up ${SET:+--set "$SET"} $lab
fi
settled

scheduler=$("$onevip" status --lab $lab -o json | jq -r '.schedulers.nodes[0]')
echo
echo "25 connections a second; $scheduler, which answers all SYNs, crashes after 4 s"
in_client bash /lab/requests.sh 10 >"$work/requests" &
load=$!
sleep 4
when=$(crash "$scheduler")
wait $load
echo "  before"
connects 0 "$when"
echo "  in the second after the crash"
connects "$when" $((when + 1000))
echo "  later"
connects $((when + 1000)) $((when + 60000))
echo "$scheduler boots"
heal "$scheduler"

echo
echo "$streams downloads go on"
in_client bash /lab/streams.sh "$streams" 15 >"$work/streams" &
load=$!
sleep 4
owner=$("$onevip" services --lab $lab -o json | jq -r '.services[0].nodes | max_by(.active).node')
echo "$owner, which serves most of them, crashes"
when=$(crash "$owner")
wait $load
ends "$owner" "$when"
echo "$owner boots"
heal "$owner"

cat <<END

The lab stays up. Go on:
  $onevip events --lab $lab    what was decided, and when
  $onevip lab fault --help            more harm
Take it down, nothing stays:
  $onevip lab down $lab
END
