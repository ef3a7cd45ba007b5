#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# held.sh PART: fails while a fault of the lab holds this part of the host down,
# so that whoever restarts it does not end the fault early.
set -eu
if [ -e "${ONEVIP_RUN:-/run/onevip}/$1.held" ]; then
	echo "$1 is held down by a fault; end it with: onevip lab heal ${ONEVIP_HOST:-$(hostname)}" >&2
	exit 1
fi
