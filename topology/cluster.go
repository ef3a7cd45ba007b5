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
	Name string
	// MAC is the cluster MAC: the switch answers ARP and ND for a VIP with it.
	// Left out, it is derived from Name (locally administered).
	MAC MAC
	// Schedulers says how many nodes answer SYNs: one for all slots, or all.
	Schedulers Schedulers
	// WindowScale is the server's TCP window scale (RFC 7323), 0..14, a
	// constant of the cluster because any scheduler may answer for any owner.
	WindowScale uint8

	Etcd       Etcd
	Controller Controller
	Heartbeat  Heartbeat
	Cookie     Cookie
	Conns      Conns

	Switches []Switch
	Links    []Link // between switches
	Nodes    []Node
	Services []Service
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
	Endpoints []string // URLs: https://10.0.0.1:2379
	CA        string   // PEM files
	Cert      string
	Key       string

	Listen   string // client URL of the embedded member: http://127.0.0.1:2379
	DataDir  string // of the embedded member: /var/lib/onevip/etcd
	Insecure bool   // allow plain http beyond loopback: an isolated management network
}

// Controller is what the controller process listens on.
type Controller struct {
	OpenFlow string        // host:port the switches connect to: :6653
	Metrics  string        // host:port of /metrics; empty: none
	Announce time.Duration // period of the gratuitous ARP and NA for each VIP: 30s
}

// Heartbeat is the agents' broadcast on the cluster network.
type Heartbeat struct {
	Interval time.Duration // 100ms
	Misses   int           // intervals of silence until a node is suspected: 3
}

// Cookie is the SYN cookie's key schedule. A cookie is valid for at least one
// and at most two periods.
type Cookie struct {
	Rotate time.Duration // 60s; at least 10s
}

// Conns bounds what is stored of connections.
type Conns struct {
	MinAge  time.Duration // younger connections are not written to etcd: 5s
	MaxRate int           // records written per second and node: 2000
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
	Name     SwitchName
	Bridge   string   // br0
	OVSDB    string   // unix:/run/openvswitch/db.sock, tcp:192.0.2.1:6640
	Datapath Datapath // auto
	// Target is what the bridge connects to, tcp:192.0.2.2:6653.
	Target string
	// Uplinks are the ports towards clients and gateways. Ports that are
	// neither uplink, node port nor link are left alone and treated as uplinks.
	Uplinks []string
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
	Name   NodeName
	Switch SwitchName
	Port   string // on that switch
	MAC    MAC    // zero: what the agent reports
	Weight uint16 // 1..1000, default 1; share of new connections relative to the others
}

// Policy decides who owns a new connection.
type Policy string

// The layer-4 policies. All are weighted.
const (
	LeastConnection Policy = "least-connection"
	RoundRobin      Policy = "round-robin"
	SourceHash      Policy = "source-hash"
)

// Service is one TCP port on one or more VIPs.
type Service struct {
	Name   ServiceName
	VIPs   []netip.Addr // IPv4 and IPv6, never v4-mapped
	Port   uint16
	Policy Policy // least-connection
	Health Health
	// MaxConns is the number of active connections at which a node counts as
	// full and is not picked; 0: no limit.
	MaxConns uint32
}

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
	Type     HealthKind    // tcp
	Path     string        // http: /
	Interval time.Duration // 1s
	Timeout  time.Duration // 500ms
	Rise     int           // good results in a row until healthy: 2
	Fall     int           // bad results in a row until unhealthy: 3
}
