// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/onevip/onevip/topology"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sampleSlots(epoch uint64) Slots {
	return Slots{
		Epoch:     epoch,
		Primary:   make([]topology.NodeID, topology.SlotCount),
		Secondary: make([]topology.NodeID, topology.SlotCount),
	}
}

func sampleConn(node topology.NodeName, port uint16) Conn {
	return Conn{
		Node: node, Service: "web", Since: noon,
		Client: netip.AddrPortFrom(netip.MustParseAddr("10.77.1.1"), port),
		VIP:    netip.MustParseAddrPort("10.77.0.1:80"),
	}
}

func secret(n int, fill byte) Secret { return bytes.Repeat([]byte{fill}, n) }

// samples are one record of each kind, connections and candidates excepted.
func samples() []any {
	mac := topology.MAC{2, 0, 0x5e, 0, 0, 1}
	return []any{
		Agent{
			Name: "n1", Incarnation: "boot", MAC: mac, Interface: "eth0", Version: "v1", Kernel: "6.18", Started: noon, SlotEpoch: 3,
			Addresses:  []netip.Addr{netip.MustParseAddr("10.77.2.1")},
			Services:   map[topology.ServiceName]AgentHealth{"web": {Healthy: true, Active: 2, Adopted: 5}},
			Suspects:   map[topology.NodeName]Suspicion{"n2": {Since: noon, Incarnation: "boot"}},
			Violations: map[string]uint64{"double_owner": 1},
		},
		Cluster{
			Name: "lab", MAC: mac, Schedulers: topology.AllSchedulers, WindowScale: 7, CookieRotate: Duration(time.Minute),
			HeartbeatInterval: Duration(100 * time.Millisecond), HeartbeatMisses: 3, ConnsMinAge: Duration(5 * time.Second), ConnsMaxRate: 2000,
		},
		CookieKeys{Epoch: 4, Previous: secret(16, 1), Current: secret(16, 2), Next: secret(16, 3), Rotated: noon},
		Event{Seq: 300, Time: noon, Kind: "node_failed", Node: "n2", Text: "node n2 failed: silence"},
		Failure{
			Epoch: 7, Node: "n2", ID: 2, Incarnation: "boot", Reason: FailureSilence, Reporters: []topology.NodeName{"n1", "n3"},
			SlotEpoch: 4, SlotNodes: []topology.NodeID{1, 2, 3}, SlotSchedulers: topology.AllSchedulers, Since: noon,
		},
		HeartbeatKey{Key: secret(32, 4)},
		IDs{
			Nodes: map[topology.NodeName]RestingNode{"old": {ID: 9, Since: noon}}, FailureEpoch: 7,
			Failed: map[topology.NodeID]RestingFailed{2: {Node: "n2", Since: noon}},
		},
		Locality{Service: "web", Bucket: 4095, Nodes: []topology.NodeName{"n1", "n2"}, Changed: noon, Writer: "n1"},
		LocalitySeen{Node: "n1", Service: "web", Since: noon, Requests: 9, Buckets: []SeenBucket{{Bucket: 3, Requests: 4, Sample: "/a"}}},
		Load{Service: "web", Nodes: map[topology.NodeName]NodeLoad{"n1": {Weight: 1, Active: 2, Adopted: 5, Pickable: true}}},
		Node{Name: "n1", ID: 1, State: NodeUp, Weight: 1, MAC: mac, Switch: "s1", Port: "n1", Incarnation: "boot", Since: noon},
		Service{
			Name: "web", ID: 0, VIPs: []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")}, Port: 80,
			Policy: topology.Locality,
			Locality: &LocalityRules{
				Key: "header:x-user", Low: 25, High: 65, Decay: Duration(20 * time.Second), Bound: 1.25,
				Silent: Silent{After: Duration(3 * time.Second), Then: topology.SilentClose},
			},
			Health: Health{Type: topology.HealthTCP, Interval: Duration(time.Second), Timeout: Duration(500 * time.Millisecond), Rise: 2, Fall: 3},
		},
		sampleSlots(3),
	}
}
