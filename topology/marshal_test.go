// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A written configuration reads back to the same value, whatever is in it.
func TestMarshalRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawCluster(t)
		want.derive()
		if err := want.Validate(); err != nil {
			t.Fatalf("the generator drew what is refused: %v", err)
		}
		data, err := Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse("f", data)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if diff := cmp.Diff(want, got, compareAddr); diff != "" {
			t.Errorf("(-want +got)\n%s\n%s", diff, data)
		}
	})
}

func drawCluster(t *rapid.T) Cluster {
	name := rapid.StringMatching(`[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?`)
	c := Default()
	c.Name = name.Draw(t, "cluster")
	c.MAC = drawMAC(t)
	c.Schedulers = rapid.SampledFrom([]Schedulers{OneScheduler, AllSchedulers}).Draw(t, "schedulers")
	c.WindowScale = rapid.Uint8Range(0, 14).Draw(t, "window scale")
	c.Etcd = drawEtcd(t)
	c.Controller = Controller{
		OpenFlow: fmt.Sprintf(":%d", rapid.IntRange(1, 65535).Draw(t, "openflow")),
		Metrics:  rapid.SampledFrom([]string{"", ":9100", "[::1]:9100"}).Draw(t, "metrics"),
		Announce: drawSpan(t, time.Second, time.Hour),
	}
	c.Speculation = Speculation{
		rapid.SampledFrom([]Delay{Never, 0, Delay(time.Millisecond), Delay(time.Second)}).Draw(t, "delay"),
		rapid.Bool().Draw(t, "mirror"),
	}
	c.Failure.Grace = drawSpan(t, time.Second, time.Hour)
	c.Heartbeat = Heartbeat{rapid.SampledFrom([]Preset{PresetDefault, PresetFast}).Draw(t, "preset"), drawSpan(t, 10*time.Millisecond, 10*time.Second), rapid.IntRange(1, 100).Draw(t, "misses")}
	c.Cookie.Rotate = drawSpan(t, 10*time.Second, time.Hour)
	c.Conns = Conns{drawSpan(t, 0, time.Hour), rapid.IntRange(1, 1000).Draw(t, "rate")}
	c.Switches = []Switch{
		{Name: "a", Bridge: "br0", OVSDB: "unix:/run/a b.sock", Datapath: DatapathAuto, Uplinks: []string{"#1", "yes"}},
		{Name: "b", Bridge: "1e3", OVSDB: "tcp:192.0.2.1:6640", Datapath: DatapathNetdev, Target: "tcp:[2001:db8::1]:6653", Settle: drawSpan(t, leastSettle, mostSettle)},
	}
	c.Links = []Link{{A: Endpoint{"a", rapid.StringMatching(`[a-z:# ]{1,8}`).Draw(t, "port")}, B: Endpoint{"b", "~"}}}
	for i := range rapid.IntRange(1, 5).Draw(t, "nodes") {
		node := Node{Name: NodeName(fmt.Sprint(i)), Switch: "b", Port: fmt.Sprint(i), Weight: rapid.Uint16Range(1, 1000).Draw(t, "weight")}
		if rapid.Bool().Draw(t, "with MAC") {
			node.MAC = MAC{2, 0, 0, 0, 1, byte(i)}
		}
		c.Nodes = append(c.Nodes, node)
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "services") {
		c.Services = append(c.Services, drawService(t, i))
	}
	return c
}

func drawMAC(t *rapid.T) MAC {
	if rapid.Bool().Draw(t, "derived MAC") {
		return MAC{}
	}
	return MAC{0x06, 1, 2, 3, 4, rapid.Byte().Draw(t, "MAC")}
}

func drawEtcd(t *rapid.T) Etcd {
	e := Etcd{
		Listen:   "http://127.0.0.1:2379",
		DataDir:  "/" + rapid.StringOf(rapid.RuneFrom([]rune("ab #:'\"{}[]\\\n\tü"))).Draw(t, "data_dir"),
		Insecure: rapid.Bool().Draw(t, "insecure"),
	}
	if rapid.Bool().Draw(t, "external") {
		e.Endpoints = []string{"https://192.0.2.1:2379", "http://localhost:1"}
		e.CA, e.Cert, e.Key = "ca", "null", "0x1"
	}
	return e
}

func drawService(t *rapid.T, i int) Service {
	h := Health{
		Type:     rapid.SampledFrom([]HealthKind{HealthTCP, HealthHTTP, HealthNone}).Draw(t, "health"),
		Interval: drawSpan(t, 100*time.Millisecond, time.Hour), Timeout: drawSpan(t, 10*time.Millisecond, time.Minute),
		Rise: rapid.IntRange(1, 100).Draw(t, "rise"), Fall: rapid.IntRange(1, 100).Draw(t, "fall"),
	}
	if h.Type == HealthHTTP {
		h.Path = rapid.StringMatching(`(/[!-~]{0,9})?`).Draw(t, "path")
	}
	policy := rapid.SampledFrom([]Policy{LeastConnection, RoundRobin, SourceHash, Locality, BoundedHash}).Draw(t, "policy")
	return Service{
		Locality: drawLocality(t, policy),
		Name:     ServiceName(fmt.Sprintf("s%d", i)), Port: uint16(80 + i), Health: h,
		VIPs:     []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
		Policy:   policy,
		MaxConns: rapid.Uint32().Draw(t, "max_conns"),
		Replay:   rapid.SampledFrom([]Replay{ReplayUnsafe, ReplaySafe}).Draw(t, "replay"),
	}
}

func drawLocality(t *rapid.T, p Policy) LocalityRules {
	r := localityOf(p)
	if !p.Inspects() {
		return r
	}
	r.Key = rapid.SampledFrom([]LocalityKey{"path", "path-prefix:16", "host+path", "header:~", "header:null", "tls-sni"}).Draw(t, "key")
	r.Low = rapid.Uint32Range(1, 1000).Draw(t, "low")
	r.High = r.Low + rapid.Uint32Range(1, 1000).Draw(t, "high")
	r.Decay = drawSpan(t, time.Second, time.Hour)
	r.Bound = rapid.Float64Range(leastBound, mostBound).Draw(t, "bound")
	r.Silent = Silent{drawSpan(t, 100*time.Millisecond, 5*time.Second), rapid.SampledFrom([]SilentThen{SilentLeastConnection, SilentClose}).Draw(t, "then")}
	return r
}

func drawSpan(t *rapid.T, least, most time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(int64(least), int64(most)).Draw(t, "span"))
}
