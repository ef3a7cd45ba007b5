// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/ovs/ovstest"
	"github.com/onevip/onevip/topology"
)

var (
	vip4       = netip.MustParseAddr("10.77.0.1")
	vip6       = netip.MustParseAddr("fd77::1")
	clusterMAC = topology.MAC{0x02, 0x0e, 0x77, 0, 0, 1}
)

// fixture is a bridge with a client and members n1, n2, n3 on it, and a
// listener that its controller target points to.
type fixture struct {
	sw       *ovstest.Switch
	client   *ovstest.Host
	members  []*ovstest.Host
	listener *ovs.Listener
	session  *ovs.Session // of the last call of installed
	topology topology.Switch
	options  ovs.BridgeOptions
}

// newFixture sets the bridge up. Members have VIPs on lo, as agents give them.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	ovstest.Need(t)
	f := &fixture{sw: ovstest.Start(t)}
	f.client = f.sw.Host(t, "client", 0x10, "10.77.1.1/16", "fd77::1:1/64")
	for i, name := range []string{"n1", "n2", "n3"} {
		f.members = append(f.members, f.sw.Host(t, name, uint8(i+1),
			"10.77.2."+string(rune('1'+i))+"/16", "fd77::2:"+string(rune('1'+i))+"/64"))
	}
	for _, m := range f.members {
		m.Must(t, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2",
			"net.ipv4.conf.all.rp_filter=0")
		m.Must(t, "ip", "address", "add", vip4.String()+"/32", "dev", "lo")
		m.Must(t, "ip", "address", "add", vip6.String()+"/128", "dev", "lo")
	}
	f.listener = listenIn(t, f.sw, t.Output())
	f.topology = topology.Switch{
		Name: "s1", Bridge: "br0", OVSDB: f.sw.DB, Datapath: topology.DatapathAuto,
		Target: "tcp:" + f.listener.Addr().String(),
	}
	f.options = ovs.BridgeOptions{Cluster: "lab", Ports: []string{"client", "n1", "n2", "n3"}}
	f.ensure(t)
	return f
}

func (f *fixture) ensure(t *testing.T) {
	t.Helper()
	if err := ovs.EnsureBridge(t.Context(), f.topology, f.options); err != nil {
		t.Fatal(err)
	}
}

// listenIn listens in the switch's namespace.
func listenIn(t *testing.T, sw *ovstest.Switch, log io.Writer) *ovs.Listener {
	t.Helper()
	var listener *ovs.Listener
	var err error
	sw.Do(t, func() {
		listener, err = ovs.Listen(context.Background(), "127.0.0.1:0",
			ovs.ListenOptions{Echo: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(log, nil))})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// recorder is a log that may be read while it is written.
type recorder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// accept waits for the switch.
func (f *fixture) accept(t *testing.T) *ovs.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	s, err := f.listener.Accept(ctx)
	if err != nil {
		t.Fatalf("wait for the switch: %v", err)
	}
	return s
}

func (f *fixture) intent() ovs.Intent {
	intent := ovs.Intent{ClusterMAC: clusterMAC, VIPs: []netip.Addr{vip4, vip6}, Mirror: true}
	for i, m := range f.members {
		intent.Members = append(intent.Members, ovs.Member{
			ID: topology.NodeID(i + 1), Name: topology.NodeName(m.Port), Port: m.Port, MAC: topology.MAC(m.MAC),
		})
	}
	return intent
}

// installed accepts the switch, claims it and applies the usual intent.
func (f *fixture) installed(t *testing.T) *ovs.Session {
	t.Helper()
	s := f.accept(t)
	if err := s.Claim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), ovs.Build(f.intent(), s.Ports())); err != nil {
		t.Fatal(err)
	}
	f.session = s
	return s
}

// speak runs a speaker until the test ends.
func (f *fixture) speak(t *testing.T, s *ovs.Session) *ovs.Speaker {
	t.Helper()
	speaker := ovs.NewSpeaker(s, time.Hour)
	speaker.Set(f.intent())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = speaker.Run(ctx) // the test looks at what it says
	}()
	t.Cleanup(func() { cancel(); <-done })
	return speaker
}
