// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/onevip/onevip/topology"
)

// Root is the prefix of all keys of this version of the format.
const Root = "/onevip/v1/"

// Kind is what a key holds: the first word after the cluster's prefix.
type Kind string

// The kinds, in the order of their keys.
const (
	KindAgent     Kind = "agents"
	KindCluster   Kind = "cluster"
	KindConn      Kind = "conns"
	KindEvent     Kind = "events"
	KindFailure   Kind = "failures"
	KindIDs       Kind = "ids"
	KindCookie    Kind = "keys/cookie"
	KindHeartbeat Kind = "keys/heartbeat"
	KindLeader    Kind = "leader"
	KindLocality  Kind = "locality"
	KindSeen      Kind = "locality-seen"
	KindNode      Kind = "nodes"
	KindLoad      Kind = "scheduler"
	KindService   Kind = "services"
	KindSlots     Kind = "slots"
)

// Key names one record of one cluster. Which fields are set depends on Kind.
type Key struct {
	Cluster string
	Kind    Kind
	Node    topology.NodeName    // agents, nodes, conns, locality-seen
	Service topology.ServiceName // services, scheduler, conns, locality, locality-seen
	Client  netip.AddrPort       // conns
	Lease   string               // leader: the candidate's lease, hexadecimal
	Number  uint64               // failures: the epoch; events: the place in the ring; locality: the bucket
}

// Prefix is what all keys of a cluster begin with.
func Prefix(cluster string) string { return Root + cluster + "/" }

// String gives the key as it stands in etcd.
func (k Key) String() string {
	path := Prefix(k.Cluster) + string(k.Kind)
	switch k.Kind {
	case KindAgent, KindNode:
		return path + "/" + string(k.Node)
	case KindService, KindLoad:
		return path + "/" + string(k.Service)
	case KindConn:
		return path + "/" + string(k.Node) + "/" + string(k.Service) + "/" + k.Client.String()
	case KindLocality:
		return path + "/" + string(k.Service) + "/" + strconv.FormatUint(k.Number, 10)
	case KindSeen:
		return path + "/" + string(k.Node) + "/" + string(k.Service)
	case KindLeader:
		return path + "/" + k.Lease
	case KindFailure, KindEvent:
		return path + "/" + strconv.FormatUint(k.Number, 10)
	default:
		return path
	}
}

// ParseKey is the inverse of Key.String. It refuses what this version does not
// know.
func ParseKey(key string) (Key, error) {
	rest, ok := strings.CutPrefix(key, Root)
	if !ok {
		return Key{}, fmt.Errorf("key %q: want the prefix %s", key, Root)
	}
	cluster, rest, _ := strings.Cut(rest, "/")
	if cluster == "" {
		return Key{}, fmt.Errorf("key %q: want a cluster's name after %s", key, Root)
	}
	parsed, ok := parseRest(rest)
	if !ok {
		return Key{}, fmt.Errorf("key %q: not a key of this version; see docs/formats/etcd.md", key)
	}
	parsed.Cluster = cluster
	return parsed, nil
}

// parseRest reads what follows the cluster's prefix.
func parseRest(rest string) (Key, bool) {
	switch kind := Kind(rest); kind {
	case KindCluster, KindIDs, KindCookie, KindHeartbeat, KindSlots:
		return Key{Kind: kind}, true
	}
	word, name, _ := strings.Cut(rest, "/")
	if name == "" {
		return Key{}, false
	}
	kind := Kind(word)
	switch kind {
	case KindConn:
		return parseConn(name)
	case KindLocality, KindSeen:
		return parsePair(kind, name)
	}
	if strings.Contains(name, "/") {
		return Key{}, false
	}
	switch kind {
	case KindAgent, KindNode:
		return Key{Kind: kind, Node: topology.NodeName(name)}, true
	case KindService, KindLoad:
		return Key{Kind: kind, Service: topology.ServiceName(name)}, true
	case KindLeader:
		return Key{Kind: kind, Lease: name}, true
	case KindFailure, KindEvent:
		number, ok := parseNumber(name)
		return Key{Kind: kind, Number: number}, ok
	}
	return Key{}, false
}

// parseNumber reads a number in the one form that has no zeros in front.
func parseNumber(text string) (uint64, bool) {
	number, err := strconv.ParseUint(text, 10, 64)
	return number, err == nil && strconv.FormatUint(number, 10) == text
}

// parsePair reads <service>/<bucket> or <node>/<service>.
func parsePair(kind Kind, rest string) (Key, bool) {
	first, second, _ := strings.Cut(rest, "/")
	if first == "" || second == "" || strings.Contains(second, "/") {
		return Key{}, false
	}
	if kind == KindSeen {
		return Key{Kind: kind, Node: topology.NodeName(first), Service: topology.ServiceName(second)}, true
	}
	bucket, ok := parseNumber(second)
	return Key{Kind: kind, Service: topology.ServiceName(first), Number: bucket}, ok && bucket < topology.BucketCount
}

// parseConn reads <node>/<service>/<client address and port>.
func parseConn(rest string) (Key, bool) {
	parts := strings.Split(rest, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		return Key{}, false
	}
	client, err := netip.ParseAddrPort(parts[2])
	if err != nil {
		return Key{}, false
	}
	node, service := topology.NodeName(parts[0]), topology.ServiceName(parts[1])
	return Key{Kind: KindConn, Node: node, Service: service, Client: client}, true
}

// keyOf tells where a record stands. Without a cluster it is not checked.
func keyOf(cluster string, record any) (Key, error) {
	k := Key{Cluster: cluster}
	switch r := record.(type) {
	case Agent:
		k.Kind, k.Node = KindAgent, r.Name
	case Cluster:
		k.Kind = KindCluster
	case Conn:
		k.Kind, k.Node, k.Service, k.Client = KindConn, r.Node, r.Service, r.Client
	case IDs:
		k.Kind = KindIDs
	case CookieKeys:
		k.Kind = KindCookie
	case Event:
		k.Kind, k.Number = KindEvent, r.Seq%EventRing
	case Failure:
		k.Kind, k.Number = KindFailure, r.Epoch
	case HeartbeatKey:
		k.Kind = KindHeartbeat
	case Locality:
		k.Kind, k.Service, k.Number = KindLocality, r.Service, uint64(r.Bucket)
	case LocalitySeen:
		k.Kind, k.Node, k.Service = KindSeen, r.Node, r.Service
	case Node:
		k.Kind, k.Node = KindNode, r.Name
	case Load:
		k.Kind, k.Service = KindLoad, r.Service
	case Service:
		k.Kind, k.Service = KindService, r.Name
	case Slots:
		k.Kind = KindSlots
	default:
		return Key{}, fmt.Errorf("a %T is not a record of the store", record)
	}
	if cluster == "" {
		return k, nil
	}
	return k, k.check()
}

// check refuses a key that would not parse back, such as a name with a slash.
func (k Key) check() error {
	if back, err := ParseKey(k.String()); err != nil || back != k {
		return fmt.Errorf("key %q: a name in it is empty or has a slash", k)
	}
	return nil
}
