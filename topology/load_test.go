// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// minimal is the shortest cluster.yaml that is accepted.
const minimal = `cluster: demo
switches:
  - name: sw1
nodes:
  - {name: n1, port: p1}
services:
  - name: web
    vips: [10.0.0.1]
    port: 80
`

var compareAddr = cmpopts.EquateComparable(netip.Addr{})

func TestParseFillsInDefaults(t *testing.T) {
	got, err := Parse("cluster.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := Cluster{
		Name: "demo", MAC: macFor("demo"), Schedulers: "all", WindowScale: 7,
		Etcd:        Etcd{Listen: "http://127.0.0.1:2379", DataDir: "/var/lib/onevip/etcd"},
		Controller:  Controller{OpenFlow: ":6653", Announce: 30 * time.Second},
		Heartbeat:   Heartbeat{Preset: "default", Interval: 100 * time.Millisecond, Misses: 3},
		Speculation: Speculation{Delay: Delay(20 * time.Millisecond), Mirror: true},
		Failure:     Failure{Grace: 2 * time.Minute},
		Cookie:      Cookie{Rotate: time.Minute},
		Conns:       Conns{MinAge: 5 * time.Second, MaxRate: 2000},
		Switches: []Switch{{
			Name: "sw1", Bridge: "br0", OVSDB: "unix:/run/openvswitch/db.sock", Datapath: "auto",
			Target: "tcp:127.0.0.1:6653", Settle: 100 * time.Millisecond,
		}},
		Nodes: []Node{{Name: "n1", Switch: "sw1", Port: "p1", Weight: 1}},
		Services: []Service{{
			Name: "web", VIPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Port: 80, Policy: "least-connection", Replay: "unsafe",
			Health: Health{Type: "tcp", Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3},
		}},
	}
	if diff := cmp.Diff(want, got, compareAddr); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseReadsEveryKey(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("full.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	want := Cluster{
		Name: "full", MAC: MAC{2, 0, 0x5e, 0, 0, 1}, Schedulers: "1", WindowScale: 9,
		Etcd: Etcd{
			Endpoints: []string{"https://192.0.2.1:2379", "https://[2001:db8::1]:2379"},
			CA:        "/etc/onevip/ca.pem", Cert: "/etc/onevip/cert.pem", Key: "/etc/onevip/key.pem",
			Listen: "http://192.0.2.9:2379", DataDir: "/srv/etcd", Insecure: true,
		},
		Controller:  Controller{OpenFlow: "192.0.2.2:6653", Metrics: ":9100", Announce: 10 * time.Second},
		Heartbeat:   Heartbeat{Preset: "fast", Interval: 70 * time.Millisecond, Misses: 3},
		Speculation: Speculation{Delay: Never},
		Failure:     Failure{Grace: time.Minute},
		Cookie:      Cookie{Rotate: 2 * time.Minute},
		Conns:       Conns{MinAge: 0, MaxRate: 100},
		Switches: []Switch{
			{Name: "sw1", Bridge: "br1", OVSDB: "tcp:192.0.2.3:6640", Datapath: "netdev", Target: "tcp:192.0.2.2:6653", Uplinks: []string{"up"}, Settle: time.Second},
			{Name: "sw2", Bridge: "br0", OVSDB: "unix:/run/db.sock", Datapath: "system", Target: "tcp:192.0.2.2:6653", Settle: 100 * time.Millisecond},
		},
		Links: []Link{{A: Endpoint{"sw1", "p1"}, B: Endpoint{"sw2", "p9"}}},
		Nodes: []Node{{Name: "n1", Switch: "sw2", Port: "p1", MAC: MAC{2, 0, 0, 0, 0, 1}, Weight: 10}},
		Services: []Service{{
			Name: "web", Port: 80, Policy: "round-robin", MaxConns: 500, Replay: "safe",
			VIPs:   []netip.Addr{netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("2001:db8::80")},
			Health: Health{Type: "http", Path: "/healthz", Interval: 2 * time.Second, Timeout: time.Second, Rise: 1, Fall: 5},
		}, {
			Name: "files", Port: 81, Policy: "locality", Replay: "unsafe",
			VIPs: []netip.Addr{netip.MustParseAddr("192.0.2.80")},
			Locality: LocalityRules{
				Key: "header:x-user", Low: 2, High: 5, Decay: time.Minute, Bound: 1.5,
				Silent: Silent{After: time.Second, Then: "close"},
			},
			Health: Health{Type: "tcp", Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3},
		}},
	}
	if diff := cmp.Diff(want, got, compareAddr); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// edit replaces one line of minimal, so that a case shows only its mistake.
func edit(old, replacement string) string {
	if strings.Count(minimal, old) != 1 {
		panic("not once in the minimal file: " + old)
	}
	return strings.Replace(minimal, old, replacement, 1)
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"empty file", "", `f:1: cluster: is missing; write a name
f:1: switches: there is none; write at least one - name: sw1
f:1: nodes: there is none; write at least one - name: n1
f:1: services: there is none; write at least one - name: web`},
		{"not YAML", "cluster: [", `f:1: not YAML: did not find expected node content; mend the syntax; indent with spaces`},
		{"a list", "- 1\n", `f:1: is a list, not a block; write its keys below it: cluster, mac, schedulers, window_scale, etcd, controller, heartbeat, speculation, failure, cookie, conns, switches, links, nodes, services`},
		{"two documents", minimal + "---\ncluster: b\n", `f:10: a second document begins; keep one per file`},
		{"unknown key, a near one", minimal + "heartbeat: {intervall: 5ms}\n", `f:10: heartbeat.intervall: unknown key; write interval`},
		{"unknown key, none near", minimal + "cookie: {zz: 1}\n", `f:10: cookie.zz: unknown key; write rotate`},
		{"key twice", minimal + "cluster: b\n", `f:10: cluster: is written twice, first in line 1; leave one out`},
		{"a list for a key", minimal + "? [a]\n: b\n", `f:10: has a list for a key; write a plain word`},
		{"block expected", minimal + "heartbeat: 5\n", `f:10: heartbeat: is a number, not a block; write its keys below it: preset, interval, misses`},
		{"list expected", edit("[10.0.0.1]", "10.0.0.1"), `f:8: services[0].vips: is text, not a list; write [...] or lines that begin with -`},
		{"value expected", edit("port: 80", "port: [80]"), `f:9: services[0].port: is a list, not a single value; write a number`},
		{"no value", edit("cluster: demo", "cluster:"), `f:1: cluster: has no value; write one, or leave the key out`},
		{"bare duration", minimal + "heartbeat: {interval: 5}\n", `f:10: heartbeat.interval: 5 has no unit; write 5ms or 5s`},
		{"no duration", minimal + "heartbeat: {interval: soon}\n", `f:10: heartbeat.interval: "soon" is no duration; write a number and a unit: 500ms, 2s, 1m`},
		{"short duration", minimal + "cookie: {rotate: 9s}\n", `f:10: cookie.rotate: 9s is out of range; write 10s to 1h`},
		{"port too large", edit("port: 80", "port: 65536"), `f:9: services[0].port: "65536" is out of range or no whole number; write at most 65535`},
		{"port 0", edit("port: 80", "port: 0"), `f:9: services[0].port: is missing or 0; write 1 to 65535`},
		{"port missing", edit("    port: 80\n", ""), `f:7: services[0].port: is missing or 0; write 1 to 65535`},
		{"name", edit("cluster: demo", "cluster: De mo"), `f:1: cluster: "De mo" is no name; write at most 63 of a-z, 0-9, '-' and '.', with a letter or digit at both ends`},
		{"multicast MAC", minimal + "mac: 01:00:5e:00:00:01\n", `f:10: mac: 01:00:5e:00:00:01 is a multicast address; write a unicast one like 02:00:5e:00:00:01`},
		{"no MAC", minimal + "mac: x\n", `f:10: mac: "x" is not understood; write six bytes like 02:00:5e:00:00:01`},
		{"schedulers", minimal + "schedulers: 2\n", `f:10: schedulers: "2" is not known; write 1 or all`},
		{"window scale", minimal + "window_scale: 15\n", `f:10: window_scale: 15 is out of range; write 0 to 14`},
		{"preset", minimal + "heartbeat: {preset: slow}\n", `f:10: heartbeat.preset: "slow" is not known; write default or fast`},
		{"speculation delay without unit", minimal + "speculation: {delay: 20}\n", `f:10: speculation.delay: "20" is not understood; write a span like 20ms, 0, or off`},
		{"speculation delay too long", minimal + "speculation: {delay: 2s}\n", `f:10: speculation.delay: 2s is out of range; write 0 to 1s, or off`},
		{"grace", minimal + "failure: {grace: 0s}\n", `f:10: failure.grace: 0s is out of range; write 1s to 24h`},
		{"replay", minimal + "    replay: maybe\n", `f:10: services[0].replay: "maybe" is not known; write unsafe or safe`},
		{"misses", minimal + "heartbeat: {misses: 0}\n", `f:10: heartbeat.misses: 0 is out of range; write 1 to 100`},
		{"max_rate", minimal + "conns: {max_rate: 1.5}\n", `f:10: conns.max_rate: "1.5" is out of range or no whole number; write a whole number`},
		{"etcd beyond loopback", minimal + "etcd: {listen: 'http://10.0.0.5:2379'}\n", `f:10: etcd.listen: "http://10.0.0.5:2379" is plain http beyond loopback; write https and a certificate, or etcd.insecure: true on an isolated network`},
		{"etcd endpoint", minimal + "etcd:\n  endpoints:\n    - 10.0.0.5:2379\n", `f:12: etcd.endpoints[0]: "10.0.0.5:2379" is no http or https URL; write one like https://192.0.2.1:2379`},
		{"etcd endpoint without port", minimal + "etcd: {endpoints: ['https://a']}\n", `f:10: etcd.endpoints[0]: "https://a" is no host:port; write one like https://192.0.2.1:2379`},
		{"etcd endpoint with a path", minimal + "etcd: {endpoints: ['https://a:1/v3']}\n", `f:10: etcd.endpoints[0]: "https://a:1/v3" has more than host and port; write one like https://192.0.2.1:2379`},
		{"etcd half a key pair", minimal + "etcd: {cert: /c.pem}\n", `f:10: etcd: has only one of cert and key; write both or none`},
		{"etcd https without certificate", minimal + "etcd: {listen: 'https://127.0.0.1:2379'}\n", `f:10: etcd.cert: is missing for an https listen URL; write the PEM files of a certificate and its key`},
		{"etcd data_dir", minimal + "etcd: {data_dir: etcd}\n", `f:10: etcd.data_dir: "etcd" is no absolute path; write one like /var/lib/onevip/etcd`},
		{"insecure", minimal + "etcd: {insecure: maybe}\n", `f:10: etcd.insecure: "maybe" is neither true nor false; write true or false`},
		{"openflow", minimal + "controller: {openflow: 6653}\n", `f:10: controller.openflow: "6653" is no host:port; write host:port, or :port for all addresses`},
		{"bridge", edit("name: sw1", "name: sw1\n    bridge: a bridge"), `f:4: switches[0].bridge: "a bridge" is no bridge name; write at most 15 letters, digits, '.', '_' or '-'`},
		{"ovsdb", edit("name: sw1", "name: sw1\n    ovsdb: 10.0.0.1"), `f:4: switches[0].ovsdb: "10.0.0.1" is neither unix: nor tcp:; write unix:/run/openvswitch/db.sock or tcp:192.0.2.1:6640`},
		{"target of a remote switch", edit("name: sw1", "name: sw1\n    ovsdb: tcp:10.0.0.1:6640"), `f:3: switches[0].target: is missing for a switch with a remote OVSDB; write tcp:192.0.2.2:6653, the controller's address as the switch sees it`},
		{"target", edit("name: sw1", "name: sw1\n    target: tcp:ctl:6653"), `f:4: switches[0].target: "tcp:ctl:6653" is no target of a bridge; write tcp:192.0.2.2:6653, the controller's address as the switch sees it`},
		{"datapath", edit("name: sw1", "name: sw1\n    datapath: dpdk"), `f:4: switches[0].datapath: "dpdk" is not known; write auto, system or netdev`},
		{"settle", edit("name: sw1", "name: sw1\n    settle: 11s"), `f:4: switches[0].settle: 11s is out of range; write 0s to 10s`},
		{"settle of a remote switch", edit("name: sw1", "name: sw1\n    settle: 0s\n    ovsdb: tcp:10.0.0.1:6640\n    target: tcp:10.0.0.2:6653"), `f:4: switches[0].settle: 0s is too short for a switch with a remote OVSDB; write 20ms to 10s: it does not tell when its cache follows its tables`},
		{"switch twice", edit("- name: sw1", "- name: sw1\n  - name: sw1"), `f:4: switches[1].name: "sw1" is there twice; write another name
f:6: nodes[0].switch: is missing; write sw1`},
		{"switches apart", edit("- name: sw1", "- name: sw1\n  - name: sw2") + "links: []\n", `f:6: nodes[0].switch: is missing; write sw1 or sw2
f:11: links: no path of links from switch sw1 to sw2; write the links that join all switches`},
		{"link", minimal + "links: [[sw1:a]]\n", `f:10: links[0]: is no pair of ends; write ["sw1:p1", "sw2:p9"]`},
		{"link's end", minimal + "links: [[sw1, sw3:b]]\n", `f:10: links[0][0]: "sw1" is not understood; write switch:port
f:10: links[0][1]: there is no switch "sw3"; write sw1`},
		{"link to itself", minimal + "links: [[sw1:a, sw1:b]]\n", `f:10: links[0]: joins switch sw1 to itself; write ends at two switches`},
		{"unknown switch", edit("port: p1", "port: p1, switch: sw2"), `f:5: nodes[0].switch: there is no switch "sw2"; write sw1`},
		{"port missing at node", edit(", port: p1", ""), `f:5: nodes[0].port: is missing; write the port's name on the switch`},
		{"port used twice", edit("- {name: n1, port: p1}", "- {name: n1, port: p1}\n  - {name: n2, port: p1}"), `f:6: nodes[1].port: port sw1:p1 is the port of node n1 already; write another port`},
		{"node at uplink", edit("name: sw1", "name: sw1\n    uplinks: [p1]"), `f:6: nodes[0].port: port sw1:p1 is the uplink already; write another port`},
		{"node twice", edit("- {name: n1, port: p1}", "- {name: n1, port: p1}\n  - {name: n1, port: p2}"), `f:6: nodes[1].name: "n1" is there twice; write another name`},
		{"weight", edit("port: p1", "port: p1, weight: 0"), `f:5: nodes[0].weight: 0 is out of range; write 1 to 1000`},
		{"node's MAC", edit("port: p1", "port: p1, mac: 02:00:00:00:00:01") + "mac: 02:00:00:00:00:01\n", `f:5: nodes[0].mac: 02:00:00:00:00:01 belongs to the cluster; write the node's own, or leave it out`},
		{"no VIP", edit("[10.0.0.1]", "[]"), `f:8: services[0].vips: there is none; write at least one address`},
		{"bad VIPs", edit("[10.0.0.1]", "[ten, '::ffff:10.0.0.1', 0.0.0.0, '::1', 224.0.0.1, 'fe80::1', 'fd00::1%eth0', 255.255.255.255, '']"),
			`f:8: services[0].vips[0]: "ten" is not understood; write an address like 192.0.2.1 or 2001:db8::1
f:8: services[0].vips[1]: ::ffff:10.0.0.1 is an IPv4 address in IPv6 form; write 10.0.0.1
f:8: services[0].vips[2]: 0.0.0.0 is the unspecified address; write a unicast address of the cluster's network
f:8: services[0].vips[3]: ::1 is a loopback address; write a unicast address of the cluster's network
f:8: services[0].vips[4]: 224.0.0.1 is a multicast address; write a unicast address of the cluster's network
f:8: services[0].vips[5]: fe80::1 is link-local; write a global or unique local address
f:8: services[0].vips[6]: fd00::1%eth0 has a zone; write it without %eth0
f:8: services[0].vips[7]: 255.255.255.255 is the broadcast address; write a unicast address of the cluster's network
f:8: services[0].vips[8]: is empty; write a unicast address of the cluster's network`},
		{"VIP and port twice", minimal + "  - {name: web2, vips: [10.0.0.1], port: 80}\n", `f:10: services[1].vips[0]: 10.0.0.1:80 is taken by service web; write another address or port`},
		{"policy", edit("port: 80", "port: 80\n    policy: least"), `f:10: services[0].policy: "least" is not known; write least-connection, round-robin, source-hash, locality or bounded-hash`},
		{"locality of layer 4", edit("port: 80", "port: 80\n    locality: {key: path}"), `f:10: services[0].locality: policy least-connection does not look at requests; leave it out, or write policy: locality or bounded-hash`},
		{"locality", edit("port: 80", "port: 80\n    policy: locality\n    locality: {key: query, low: 0, high: 2000000, decay: 1ms, bound: 1, silent: {after: 6s, then: wait}}"),
			`f:11: services[0].locality.key: "query" is no key; write path, path-prefix:N, host+path, header:NAME or tls-sni
f:11: services[0].locality.low: 0 is out of range; write 1 to 1000000
f:11: services[0].locality.high: 2000000 is out of range; write 1 to 1000000
f:11: services[0].locality.decay: 1ms is out of range; write 1s to 24h
f:11: services[0].locality.bound: 1 is out of range; write 1.01 to 10
f:11: services[0].locality.silent.after: 6s is out of range; write 100ms to 5s
f:11: services[0].locality.silent.then: "wait" is not known; write least-connection or close`},
		{"locality, the default is below", edit("port: 80", "port: 80\n    policy: locality\n    locality: {low: 65}"), `f:11: services[0].locality.high: 65 is not above low, 65; write a larger one, or a smaller low`},
		{"bound", edit("port: 80", "port: 80\n    policy: bounded-hash\n    locality: {bound: .nan}"), `f:11: services[0].locality.bound: ".nan" is no number; write one like 1.25`},
		{"bound NaN", edit("port: 80", "port: 80\n    policy: bounded-hash\n    locality: {bound: NaN}"), `f:11: services[0].locality.bound: NaN is out of range; write 1.01 to 10`},
		{"segments", edit("port: 80", "port: 80\n    policy: locality\n    locality: {key: 'path-prefix:0'}"), `f:11: services[0].locality.key: "path-prefix:0" has no number of segments; write path-prefix:N with 1 to 16 for N`},
		{"header", edit("port: 80", "port: 80\n    policy: locality\n    locality: {key: 'header:X User'}"), `f:11: services[0].locality.key: "header:X User" names no header; write header:NAME, at most 32 letters, digits and '-'`},
		{"max_conns", edit("port: 80", "port: 80\n    max_conns: -1"), `f:10: services[0].max_conns: "-1" is out of range or no whole number; write at most 4294967295`},
		{"health", edit("port: 80", "port: 80\n    health: {type: udp, interval: 1ms, timeout: 1ms, rise: 0, fall: 0}"),
			`f:10: services[0].health.type: "udp" is not known; write tcp, http or none
f:10: services[0].health.interval: 1ms is out of range; write 100ms to 1h
f:10: services[0].health.timeout: 1ms is out of range; write 10ms to 1m
f:10: services[0].health.rise: 0 is out of range; write 1 to 100
f:10: services[0].health.fall: 0 is out of range; write 1 to 100`},
		{"path of a TCP check", edit("port: 80", "port: 80\n    health: {path: /}"), `f:10: services[0].health.path: a check of type tcp has no path; leave it out, or write type: http`},
		{"path that ends the request line", edit("port: 80", "port: 80\n    health: {type: http, path: \"/ HTTP/1.1\\r\\nX: y\"}"), `f:10: services[0].health.path: "/ HTTP/1.1\r\nX: y" is no path of a request; write one like /healthz`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.file))
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want Problems", err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestTooManyNodes(t *testing.T) {
	var nodes strings.Builder
	for i := range 255 {
		fmt.Fprintf(&nodes, "  - {name: n%d, port: p%d}\n", i, i)
	}
	_, err := Parse("f", []byte(edit("  - {name: n1, port: p1}\n", nodes.String())))
	const want = "f:5: nodes: there are 255; write at most 254: a cookie has one byte for the owner"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestAliasesAreRead(t *testing.T) {
	got, err := Parse("f", []byte(edit("[10.0.0.1]", "&v [10.0.0.1]")+"  - {name: ssh, vips: *v, port: 22}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if vips := got.Services[1].VIPs; len(vips) != 1 || vips[0] != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("vips %v", vips)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cluster.yaml")
	if err := os.WriteFile(path, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || c.Name != "demo" {
		t.Errorf("cluster %q, error %v", c.Name, err)
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that there is no file", err)
	}
}

// What the packages bring to begin with is accepted as it is.
func TestShippedExample(t *testing.T) {
	c, err := Load("../packaging/cluster.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(c.Services, func(s Service) bool { return s.Policy.Inspects() }) {
		t.Error("no service of the example looks at requests")
	}
}

func TestValidateNamesNoPlace(t *testing.T) {
	c, err := Parse("f", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("a parsed cluster is refused: %v", err)
	}
	c.WindowScale = 20
	const want = "window_scale: 20 is out of range; write 0 to 14"
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
