#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The switch: an Open vSwitch of its own with the userspace datapath. br0 has
# the data ports; a Linux bridge, apart from it, is the management network.
# FAIL_MODE=standalone makes br0 a learning switch that needs no controller.
# Killed (both processes are in ovs.pid) and started again, it goes on with its
# database.
set -eu

run=${OVS_RUNDIR:-/run/openvswitch}
export OVS_RUNDIR="$run" OVS_DBDIR="$run" OVS_LOGDIR="$run"
mkdir -p "$run"
sh "$(dirname "$0")/held.sh" ovs

# wait_up INTERFACE...: both ends are there and up. Open vSwitch must not take a
# port before that (it would fight for the port's flags).
wait_up() {
	for interface; do
		until ip -o link show dev "$interface" up 2>/dev/null | grep -q LOWER_UP; do sleep 0.05; done
	done
}

db=$run/conf.db # is there after the first start
[ -e "$db" ] || wait_up $DATA_PORTS ${MGMT_PORTS:-}

if [ -n "${MGMT_PORTS:-}" ] && [ ! -e "$db" ]; then
	ip link add name mgmt type bridge
	for port in $MGMT_PORTS; do ip link set dev "$port" master mgmt; done
	ip addr add "$MGMT_ADDRESS/24" dev mgmt
	ip link set dev mgmt up
fi

[ -e "$db" ] || ovsdb-tool create "$db" /usr/share/openvswitch/vswitch.ovsschema
rm -f "$run/db.sock" # of one that was killed
nice -n -10 ovsdb-server "$db" --pidfile --no-chdir \
	--remote="punix:$run/db.sock" \
	--remote=db:Open_vSwitch,Open_vSwitch,manager_options &
printf '%s\n' $! $$ >"$run/ovs.pid"
until [ -S "$run/db.sock" ]; do sleep 0.05; done

set -- -- --may-exist add-br br0 \
	-- set bridge br0 datapath_type=netdev fail_mode="${FAIL_MODE:-secure}" protocols=OpenFlow10,OpenFlow13,OpenFlow14
number=1
for port in $DATA_PORTS; do
	set -- "$@" -- --may-exist add-port br0 "$port" -- set interface "$port" "ofport_request=$number"
	number=$((number + 1))
done
ovs-vsctl --no-wait init "$@"
if [ -n "${MGMT_PORTS:-}" ]; then
	ovs-vsctl --no-wait set-manager "ptcp:6640:$MGMT_ADDRESS"
fi
# A switch does not wait for the servers behind it, which share its CPUs here.
exec chrt --rr 1 ovs-vswitchd "unix:$run/db.sock" --pidfile --no-chdir
