// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"net/netip"
	"time"
)

// Cluster is all that an operator says about one cluster: the content of
// cluster.yaml. Every machine may hold the same file.
type Cluster struct {
	// Name of the cluster: the etcd prefix /onevip/v1/<name>/ and the pins are under it.
	Name string `yaml:"cluster"`
	// MAC is the cluster MAC: the switch answers ARP and ND for a VIP with it.
	// Left out, it is derived from Name (locally administered).
	MAC MAC `yaml:"mac,omitempty"`
	// Schedulers says how many nodes answer SYNs: one for all slots, or all.
	// Default: all.
	Schedulers Schedulers `yaml:"schedulers"`
	// WindowScale is the server's TCP window scale (RFC 7323), 0..14, a
	// constant of the cluster because any scheduler may answer for any owner.
	// Default: 7.
	WindowScale uint8 `yaml:"window_scale"`

	Etcd        Etcd        `yaml:"etcd"`
	Controller  Controller  `yaml:"controller"`
	Heartbeat   Heartbeat   `yaml:"heartbeat"`
	Speculation Speculation `yaml:"speculation"`
	Failure     Failure     `yaml:"failure"`
	Cookie      Cookie      `yaml:"cookie"`
	Conns       Conns       `yaml:"conns"`

	Switches []Switch  `yaml:"switches"`
	Links    []Link    `yaml:"links,omitempty"` // between switches
	Nodes    []Node    `yaml:"nodes"`
	Services []Service `yaml:"services"`
}

// Schedulers is the number of nodes that are primary for some slot.
type Schedulers string

// The thesis's FTCS has one scheduler; spreading is ours.
const (
	OneScheduler  Schedulers = "1"
	AllSchedulers Schedulers = "all"
)

// Etcd says where state is kept. With no endpoints the controller embeds a
// member that listens on Listen.
type Etcd struct {
	Endpoints []string `yaml:"endpoints,omitempty"` // URLs: https://10.0.0.1:2379
	CA        string   `yaml:"ca,omitempty"`        // PEM files
	Cert      string   `yaml:"cert,omitempty"`
	Key       string   `yaml:"key,omitempty"`

	Listen   string `yaml:"listen"`             // client URL of the embedded member: http://127.0.0.1:2379
	DataDir  string `yaml:"data_dir"`           // of the embedded member: /var/lib/onevip/etcd
	Insecure bool   `yaml:"insecure,omitempty"` // allow plain http beyond loopback: an isolated management network
}

// Controller is what the controller process listens on.
type Controller struct {
	OpenFlow string        `yaml:"openflow"`          // host:port the switches connect to: :6653
	Metrics  string        `yaml:"metrics,omitempty"` // host:port of /metrics; empty: none
	Announce time.Duration `yaml:"announce"`          // period of the gratuitous ARP and NA for each VIP: 30s
}

// Preset is a pair of heartbeat interval and misses that goes well together.
type Preset string

// The fast preset costs twice the heartbeats, and wants nodes and a network that
// never stall for a seventh of a second.
const (
	PresetDefault Preset = "default" // 100ms, 3
	PresetFast    Preset = "fast"    // 50ms, 3
)

// Heartbeat is the agents' broadcast on the cluster network.
type Heartbeat struct {
	Preset   Preset        `yaml:"preset"`   // what the two below are where they are left out
	Interval time.Duration `yaml:"interval"` // 100ms
	Misses   int           `yaml:"misses"`   // intervals of silence until a node is asked whether it lives: 3
}

// Speculation is the secondary's answering of SYNs that the primary left
// unanswered.
type Speculation struct {
	// Delay is how long the secondary waits for a sign of the primary's answer.
	// 0: both answer every SYN. off: only a primary that failed is replaced.
	Delay Delay `yaml:"delay"` // 20ms
	// Mirror has the switch copy SYN/ACKs to the nodes, as that sign; without it
	// the client's ACK must do, and Delay should exceed the clients' round trip.
	Mirror bool `yaml:"mirror"` // true
}

// Failure bounds how long a node may be out of reach.
type Failure struct {
	// Grace is how long a node may answer probes while its agent is silent; then
	// it counts as failed.
	Grace time.Duration `yaml:"grace"` // 2m
}

// Cookie is the SYN cookie's key schedule. A cookie is valid for at least one
// and at most two periods.
type Cookie struct {
	Rotate time.Duration `yaml:"rotate"` // 60s; at least 10s
}

// Conns bounds what is stored of connections.
type Conns struct {
	MinAge  time.Duration `yaml:"min_age"`  // younger connections are not written to etcd: 5s
	MaxRate int           `yaml:"max_rate"` // records written per second and node: 2000
}

// Datapath is the kind of OVS datapath.
type Datapath string

// DatapathAuto takes the kernel's if it is there.
const (
	DatapathAuto   Datapath = "auto"
	DatapathSystem Datapath = "system"
	DatapathNetdev Datapath = "netdev"
)

// Switch is one Open vSwitch bridge that the controller programs.
type Switch struct {
	Name     SwitchName `yaml:"name"`
	Bridge   string     `yaml:"bridge"`   // br0
	OVSDB    string     `yaml:"ovsdb"`    // unix:/run/openvswitch/db.sock, tcp:192.0.2.1:6640
	Datapath Datapath   `yaml:"datapath"` // auto
	// Target is what the bridge connects to, tcp:192.0.2.2:6653. Left out on a
	// switch whose OVSDB is a local socket: this machine, Controller.OpenFlow's port.
	Target string `yaml:"target"`
	// Settle is how long the switch may go on by what it has cached, after its
	// tables changed: a fence counts after that. It is not waited for where the
	// switch itself can tell, on this machine; any other needs 20ms at least.
	Settle time.Duration `yaml:"settle"` // 100ms
	// Uplinks are the ports towards clients and gateways. Ports that are
	// neither uplink, node port nor link are left alone and treated as uplinks.
	Uplinks []string `yaml:"uplinks,omitempty"`
}

// Link joins two switches.
type Link struct {
	A, B Endpoint
}

// Endpoint is one port of one switch.
type Endpoint struct {
	Switch SwitchName
	Port   string
}

// Node is a server machine that runs the agent.
type Node struct {
	Name   NodeName   `yaml:"name"`
	Switch SwitchName `yaml:"switch"`        // may be left out where there is only one
	Port   string     `yaml:"port"`          // on that switch
	MAC    MAC        `yaml:"mac,omitempty"` // zero: what the agent reports
	Weight uint16     `yaml:"weight"`        // 1..1000, default 1; share of new connections relative to the others
}

// Policy decides who owns a new connection.
type Policy string

// All policies are weighted. The last two are of layer 7: they look at the first
// request, and bring equal keys to the same few nodes.
const (
	LeastConnection Policy = "least-connection"
	RoundRobin      Policy = "round-robin"
	SourceHash      Policy = "source-hash"
	Locality        Policy = "locality"
	BoundedHash     Policy = "bounded-hash"
)

// Inspects tells whether the policy decides by the client's first request.
func (p Policy) Inspects() bool { return p == Locality || p == BoundedHash }

// Service is one TCP port on one or more VIPs.
type Service struct {
	Name   ServiceName  `yaml:"name"`
	VIPs   []netip.Addr `yaml:"vips"` // IPv4 and IPv6, never v4-mapped
	Port   uint16       `yaml:"port"`
	Policy Policy       `yaml:"policy"` // least-connection
	// Locality is there if, and only if, Policy inspects.
	Locality LocalityRules `yaml:"locality,omitempty"`
	Health   Health        `yaml:"health"`
	// MaxConns is the number of active connections at which a node counts as
	// full and is not picked; 0: no limit.
	MaxConns uint32 `yaml:"max_conns,omitempty"`
	// Replay says whether a request may run twice: of a connection whose owner
	// failed just after the first request had reached it, another node takes the
	// request over if that is safe, and resets the connection if not.
	Replay Replay `yaml:"replay"` // unsafe
}

// Replay is whether a request may run twice.
type Replay string

// Only the operator can know.
const (
	ReplayUnsafe Replay = "unsafe"
	ReplaySafe   Replay = "safe"
)

// HealthKind is how a node looks at its own server.
type HealthKind string

// HealthNone takes the server for healthy as long as the agent lives.
const (
	HealthTCP  HealthKind = "tcp"
	HealthHTTP HealthKind = "http"
	HealthNone HealthKind = "none"
)

// Health is a check of the server through the node's own listener.
type Health struct {
	Type     HealthKind    `yaml:"type"`           // tcp
	Path     string        `yaml:"path,omitempty"` // http: /
	Interval time.Duration `yaml:"interval"`       // 1s
	Timeout  time.Duration `yaml:"timeout"`        // 500ms
	Rise     int           `yaml:"rise"`           // good results in a row until healthy: 2
	Fall     int           `yaml:"fall"`           // bad results in a row until unhealthy: 3
}
