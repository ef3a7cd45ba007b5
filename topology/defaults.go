// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"crypto/sha256"
	"net"
	"strings"
	"time"
)

// Default is a Cluster of which nothing was said yet: every documented default
// is set, and what has none is empty.
func Default() Cluster {
	var c Cluster
	setDefaults(&c)
	return c
}

// setDefaults gives a block the values that hold for the keys that the operator
// leaves out. The decoder calls it before it reads the block, so that an
// explicit zero stays what it is.
func setDefaults(block any) {
	switch b := block.(type) {
	case *Cluster:
		*b = Cluster{
			Schedulers:  AllSchedulers,
			WindowScale: 7,
			Etcd:        Etcd{Listen: "http://127.0.0.1:2379", DataDir: "/var/lib/onevip/etcd"},
			Controller:  Controller{OpenFlow: ":6653", Announce: 30 * time.Second},
			Heartbeat:   heartbeatOf(PresetDefault),
			Speculation: Speculation{Delay: Delay(20 * time.Millisecond), Mirror: true},
			Failure:     Failure{Grace: 2 * time.Minute},
			Cookie:      Cookie{Rotate: 60 * time.Second},
			Conns:       Conns{MinAge: 5 * time.Second, MaxRate: 2000},
		}
	case *Switch:
		*b = Switch{Bridge: "br0", OVSDB: "unix:/run/openvswitch/db.sock", Datapath: DatapathAuto, Settle: 100 * time.Millisecond}
	case *Node:
		*b = Node{Weight: 1}
	case *Service:
		*b = Service{
			Policy: LeastConnection,
			Replay: ReplayUnsafe,
			Health: Health{Type: HealthTCP, Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3},
		}
	}
}

// localityOf gives the rules of a service whose policy inspects. The thresholds
// are those of Pai et al., ASPLOS 1998.
func localityOf(p Policy) LocalityRules {
	if !p.Inspects() {
		return LocalityRules{}
	}
	return LocalityRules{
		Key: "path", Low: 25, High: 65, Decay: 20 * time.Second, Bound: 1.25,
		Silent: Silent{After: 3 * time.Second, Then: SilentLeastConnection},
	}
}

// heartbeatOf gives a preset's values; an unknown one, which validation reports,
// has the default's.
func heartbeatOf(p Preset) Heartbeat {
	if p == PresetFast {
		return Heartbeat{Preset: p, Interval: 50 * time.Millisecond, Misses: 3}
	}
	return Heartbeat{Preset: p, Interval: 100 * time.Millisecond, Misses: 3}
}

// derive fills in what follows from other keys.
func (c *Cluster) derive() {
	if c.MAC.IsZero() {
		c.MAC = macFor(c.Name)
	}
	for i := range c.Switches {
		c.Switches[i].deriveTarget(c.Controller.OpenFlow)
	}
	for i := range c.Nodes {
		if c.Nodes[i].Switch == "" && len(c.Switches) == 1 {
			c.Nodes[i].Switch = c.Switches[0].Name
		}
	}
	for i := range c.Services {
		if h := &c.Services[i].Health; h.Type == HealthHTTP && h.Path == "" {
			h.Path = "/"
		}
		c.Services[i].Locality.Key = c.Services[i].Locality.Key.normal()
	}
}

// deriveTarget lets a switch of this machine connect to this machine's controller.
func (s *Switch) deriveTarget(openflow string) {
	if s.Target != "" || !strings.HasPrefix(s.OVSDB, "unix:") {
		return
	}
	host, port, err := net.SplitHostPort(openflow)
	if err != nil {
		return
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	s.Target = "tcp:" + net.JoinHostPort(host, port)
}

// macFor makes a locally administered unicast address of the cluster's name, so
// that clusters on one segment differ without being told to.
func macFor(name string) MAC {
	sum := sha256.Sum256([]byte("onevip cluster MAC\x00" + name))
	mac := MAC(sum[:6])
	mac[0] = 0x02
	return mac
}
