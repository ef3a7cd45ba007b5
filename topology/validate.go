// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// checker collects what is wrong with a value, by field path. It knows no file.
type checker struct {
	problems Problems
}

func (k *checker) fail(path, what, fix string) {
	k.problems = append(k.problems, Problem{Path: path, What: what, Fix: fix})
}

// check validates c, whose defaults are filled in.
func (c Cluster) check() Problems {
	var k checker
	k.name("cluster", c.Name)
	k.unicast("mac", c.MAC)
	k.among("schedulers", string(c.Schedulers), string(OneScheduler), string(AllSchedulers))
	k.within("window_scale", int(c.WindowScale), 0, 14)
	k.etcd(c.Etcd)
	k.listenAddress("controller.openflow", c.Controller.OpenFlow)
	if c.Controller.Metrics != "" {
		k.listenAddress("controller.metrics", c.Controller.Metrics)
	}
	k.span("controller.announce", c.Controller.Announce, time.Second, time.Hour)
	k.among("heartbeat.preset", string(c.Heartbeat.Preset), string(PresetDefault), string(PresetFast))
	k.span("heartbeat.interval", c.Heartbeat.Interval, 10*time.Millisecond, 10*time.Second)
	k.within("heartbeat.misses", c.Heartbeat.Misses, 1, 100)
	k.speculation(c.Speculation)
	k.span("failure.grace", c.Failure.Grace, time.Second, 24*time.Hour)
	k.span("cookie.rotate", c.Cookie.Rotate, 10*time.Second, time.Hour)
	k.span("conns.min_age", c.Conns.MinAge, 0, 24*time.Hour)
	k.within("conns.max_rate", c.Conns.MaxRate, 1, 1_000_000)
	ports := portUse{}
	k.switches(c.Switches, ports)
	k.links(c, ports)
	k.nodes(c, ports)
	k.services(c.Services)
	return k.problems
}

// speculation wants a delay well below the second after which clients send a SYN
// again: that one is answered at once anyway.
func (k *checker) speculation(s Speculation) {
	if s.Delay > Delay(time.Second) {
		k.fail("speculation.delay", fmt.Sprintf("%s is out of range", s.Delay), "write 0 to 1s, or off")
	}
}

// etcd wants TLS wherever others could listen, unless told that nobody can.
func (k *checker) etcd(e Etcd) {
	for i, endpoint := range e.Endpoints {
		k.etcdURL(fmt.Sprintf("etcd.endpoints[%d]", i), endpoint, e.Insecure)
	}
	if len(e.Endpoints) == 0 {
		k.etcdURL("etcd.listen", e.Listen, e.Insecure)
	}
	if len(e.Endpoints) == 0 && e.Cert == "" && strings.HasPrefix(e.Listen, "https:") {
		k.fail("etcd.cert", "is missing for an https listen URL", "write the PEM files of a certificate and its key")
	}
	if (e.Cert == "") != (e.Key == "") {
		k.fail("etcd", "has only one of cert and key", "write both or none")
	}
	if !filepath.IsAbs(e.DataDir) {
		k.fail("etcd.data_dir", fmt.Sprintf("%q is no absolute path", e.DataDir), "write one like /var/lib/onevip/etcd")
	}
}

func (k *checker) etcdURL(path, url string, insecure bool) {
	u, err := parseEtcdURL(url)
	switch {
	case err != nil:
		k.fail(path, fmt.Sprintf("%q %v", url, err), "write one like https://192.0.2.1:2379")
	case u.Scheme == "http" && !insecure && !isLoopback(u.Hostname()):
		k.fail(path, fmt.Sprintf("%q is plain http beyond loopback", url),
			"write https and a certificate, or etcd.insecure: true on an isolated network")
	}
}

// A switch whose OVSDB is remote is given at least leastSettle: its revalidators
// take about as long. No fence may wait for longer than mostSettle.
const (
	leastSettle = 20 * time.Millisecond
	mostSettle  = 10 * time.Second
)

// portUse remembers what the ports of the switches are for.
type portUse map[Endpoint]string

// take claims a port at a field path for a use; a port has one use.
func (k *checker) take(used portUse, path string, e Endpoint, use string) {
	if e.Port == "" {
		k.fail(path, "is missing", "write the port's name on the switch")
		return
	}
	if first, taken := used[e]; taken {
		k.fail(path, fmt.Sprintf("port %s is the %s already", e, first), "write another port")
		return
	}
	used[e] = use
}

func (k *checker) switches(switches []Switch, ports portUse) {
	if len(switches) == 0 {
		k.fail("switches", "there is none", "write at least one - name: sw1")
	}
	seen := map[string]bool{}
	for i, s := range switches {
		at := fmt.Sprintf("switches[%d]", i)
		k.uniqueName(at+".name", string(s.Name), seen)
		if !interfaceForm.MatchString(s.Bridge) {
			k.fail(at+".bridge", fmt.Sprintf("%q is no bridge name", s.Bridge), "write at most 15 letters, digits, '.', '_' or '-'")
		}
		k.ovsdb(at+".ovsdb", s.OVSDB)
		k.among(at+".datapath", string(s.Datapath), string(DatapathAuto), string(DatapathSystem), string(DatapathNetdev))
		k.settle(at+".settle", s)
		k.target(at+".target", s.Target, isRemoteOVSDB(s.OVSDB))
		for j, uplink := range s.Uplinks {
			k.take(ports, fmt.Sprintf("%s.uplinks[%d]", at, j), Endpoint{s.Name, uplink}, "uplink")
		}
	}
}

// settle wants a wait where nothing else tells that a fence is in force.
func (k *checker) settle(path string, s Switch) {
	if isRemoteOVSDB(s.OVSDB) && s.Settle < leastSettle {
		k.fail(path, fmt.Sprintf("%s is too short for a switch with a remote OVSDB", s.Settle), fmt.Sprintf("write %s to %s: it does not tell when its cache follows its tables", leastSettle, mostSettle))
		return
	}
	k.span(path, s.Settle, 0, mostSettle)
}

func (k *checker) links(c Cluster, ports portUse) {
	for i, l := range c.Links {
		at := fmt.Sprintf("links[%d]", i)
		for j, end := range []Endpoint{l.A, l.B} {
			path := fmt.Sprintf("%s[%d]", at, j)
			if k.knownSwitch(path, end.Switch, c.Switches) {
				k.take(ports, path, end, "end of "+at)
			}
		}
		if l.A.Switch == l.B.Switch {
			k.fail(at, fmt.Sprintf("joins switch %s to itself", l.A.Switch), "write ends at two switches")
		}
	}
	if len(c.Switches) < 2 || k.problems.covers("links") {
		return
	}
	var gap *DisconnectedError
	if _, err := FloodTree(c.Switches, c.Links, c.Switches[0].Name); errors.As(err, &gap) {
		k.fail("links", gap.Error(), "write the links that join all switches")
	}
}

// knownSwitch is false where it reported name.
func (k *checker) knownSwitch(path string, name SwitchName, switches []Switch) bool {
	names := make([]string, len(switches))
	for i, s := range switches {
		names[i] = string(s.Name)
	}
	switch {
	case slices.Contains(names, string(name)):
		return true
	case name == "":
		k.fail(path, "is missing", oneOf(slices.Compact(names)))
	default:
		k.fail(path, fmt.Sprintf("there is no switch %q", name), suggest(string(name), names))
	}
	return false
}

func (k *checker) nodes(c Cluster, ports portUse) {
	switch n := len(c.Nodes); {
	case n == 0:
		k.fail("nodes", "there is none", "write at least one - name: n1")
	case n > int(MaxNodeID):
		k.fail("nodes", fmt.Sprintf("there are %d", n), fmt.Sprintf("write at most %d: a cookie has one byte for the owner", MaxNodeID))
	}
	names, macs := map[string]bool{}, map[MAC]string{c.MAC: "the cluster"}
	for i, n := range c.Nodes {
		at := fmt.Sprintf("nodes[%d]", i)
		k.uniqueName(at+".name", string(n.Name), names)
		if k.knownSwitch(at+".switch", n.Switch, c.Switches) {
			k.take(ports, at+".port", Endpoint{n.Switch, n.Port}, "port of node "+string(n.Name))
		}
		k.within(at+".weight", int(n.Weight), 1, 1000)
		if n.MAC.IsZero() {
			continue
		}
		k.unicast(at+".mac", n.MAC)
		if owner, taken := macs[n.MAC]; taken {
			k.fail(at+".mac", fmt.Sprintf("%s belongs to %s", n.MAC, owner), "write the node's own, or leave it out")
		}
		macs[n.MAC] = "node " + string(n.Name)
	}
}
