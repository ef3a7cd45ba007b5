#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make demo: brings lab 01-quickstart up if it is not, sends requests to its one
# address and shows who answered. It may be run again; the lab stays up.
set -euo pipefail
cd "$(dirname "$0")/../.."

lab=01-quickstart
requests=${REQUESTS:-200}
onevip=bin/onevip

in_client() { "$onevip" lab exec --lab $lab client -- "$@"; }

# One request per connection; each of 64 client addresses has its share of them.
ask() { # URL, client addresses as a printf format
  in_client bash -c '
    for ((i = 0; i < 64; i++)); do
      urls=()
      for ((k = i; k < $1; k += 64)); do urls+=("$2"); done
      curl -fsS -H "Connection: close" --interface "$(printf "$3" $((i + 1)))" "${urls[@]}" || echo failed
    done' ask "$requests" "$1" "$2"
}

bars() { # lines with names -> how often each, as a picture
  sort | uniq -c | awk '{
    bar = ""; for (i = 0; i < $1 / 2; i++) bar = bar "#"
    printf "  %-7s %4d  %s\n", $2, $1, bar
  }'
}

if ! "$onevip" lab status $lab >/dev/null 2>&1; then
  "$onevip" lab down $lab >/dev/null
  "$onevip" lab up $lab
fi

echo
echo "$requests connections to http://10.77.0.1/whoami, from 64 clients, were answered by"
ask http://10.77.0.1/whoami 10.77.1.%d | bars
echo
echo "$requests connections to http://[fd77::1]/whoami, from 64 clients, were answered by"
ask 'http://[fd77::1]/whoami' fd77::1:%x | bars
echo
sleep 2 # agents report once a second
"$onevip" status --lab $lab
cat <<END

The lab stays up. Go on:
  $onevip services                       who has how many connections
  $onevip lab exec client -- curl -s http://10.77.0.1/whoami
  $onevip lab exec client -- wrk -c 32 -d 5s -H 'Connection: close' http://10.77.0.1/1k
  $onevip lab exec sw -- ovs-ofctl -OOpenFlow13 dump-flows br0
  $onevip lab exec ctl -- etcdctl --endpoints=http://172.31.77.2:2379 get --prefix /onevip/v1/
  $onevip lab list                       this lab and others

Take it down, nothing stays:
  $onevip lab down $lab
END
