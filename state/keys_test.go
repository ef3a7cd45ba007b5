// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKeys(t *testing.T) {
	const p = "/onevip/v1/lab/"
	tests := []struct {
		key  Key
		want string
	}{
		{Key{Kind: KindCluster}, p + "cluster"},
		{Key{Kind: KindNode, Node: "n1"}, p + "nodes/n1"},
		{Key{Kind: KindAgent, Node: "n1"}, p + "agents/n1"},
		{Key{Kind: KindService, Service: "web"}, p + "services/web"},
		{Key{Kind: KindSlots}, p + "slots"},
		{Key{Kind: KindLoad, Service: "web"}, p + "scheduler/web"},
		{Key{Kind: KindConn, Node: "n1", Service: "web", Client: netip.MustParseAddrPort("10.77.1.1:4711")}, p + "conns/n1/web/10.77.1.1:4711"},
		{Key{Kind: KindConn, Node: "n1", Service: "web", Client: netip.MustParseAddrPort("[fd77::1:1]:4711")}, p + "conns/n1/web/[fd77::1:1]:4711"},
		{Key{Kind: KindCookie}, p + "keys/cookie"},
		{Key{Kind: KindHeartbeat}, p + "keys/heartbeat"},
		{Key{Kind: KindLeader, Lease: "694d7a"}, p + "leader/694d7a"},
		{Key{Kind: KindIDs}, p + "ids"},
		{Key{Kind: KindLocality, Service: "web", Number: 0}, p + "locality/web/0"},
		{Key{Kind: KindLocality, Service: "web", Number: 4095}, p + "locality/web/4095"},
		{Key{Kind: KindSeen, Node: "n1", Service: "web"}, p + "locality-seen/n1/web"},
	}
	for _, tt := range tests {
		tt.key.Cluster = "lab"
		if got := tt.key.String(); got != tt.want {
			t.Errorf("key %s, want %s", got, tt.want)
		}
		if back, err := ParseKey(tt.want); err != nil || back != tt.key {
			t.Errorf("ParseKey(%s) = %+v, %v, want %+v", tt.want, back, err, tt.key)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, key := range []string{
		"", "/", "/onevip/v2/lab/slots", "/onevip/v1/", "/onevip/v1//slots", "/onevip/v1/lab", "/onevip/v1/lab/",
		"/onevip/v1/lab/nodes", "/onevip/v1/lab/nodes/", "/onevip/v1/lab/nodes/a/b", "/onevip/v1/lab/keys/", "/onevip/v1/lab/keys/other",
		"/onevip/v1/lab/slots/1", "/onevip/v1/lab/conns/n1/web", "/onevip/v1/lab/conns/n1/web/x", "/onevip/v1/lab/conns//web/1.2.3.4:5",
		"/onevip/v1/lab/unknown/x", "/onevip/v1/lab/locality/web", "/onevip/v1/lab/locality/web/4096", "/onevip/v1/lab/locality/web/01",
		"/onevip/v1/lab/locality//1", "/onevip/v1/lab/locality/web/1/2", "/onevip/v1/lab/locality-seen/n1", "/onevip/v1/lab/locality-seen/n1/",
	} {
		if got, err := ParseKey(key); err == nil {
			t.Errorf("ParseKey(%q) = %+v, want an error", key, got)
		}
	}
}

func TestParseKeyAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`/onevip/v1/[a-c]?/?(agents|conns|ids|keys|leader|locality|locality-seen|nodes|slots)?/?[a-z0-9./:\[\]]{0,20}`).Draw(t, "key")
		if key, err := ParseKey(text); err == nil && key.Kind != KindConn && key.String() != text {
			t.Fatalf("ParseKey(%q) = %+v, which is %q", text, key, key)
		}
	})
}

// TestSecretsStayHidden: no way of printing shows key material.
func TestSecretsStayHidden(t *testing.T) {
	keys := CookieKeys{Current: secret(16, 'K')}
	for _, text := range []string{fmt.Sprint(keys), fmt.Sprintf("%+v", keys), fmt.Sprintf("%#v", keys), keys.Current.String()} {
		if strings.Contains(text, "KKK") || strings.Contains(text, "75, 75") || strings.Contains(text, "0x4b") {
			t.Errorf("printed: %s", text)
		}
	}
}

// TestBrokenDuration: a bare number is no span.
func TestBrokenDuration(t *testing.T) {
	key := Key{Cluster: "lab", Kind: KindCluster}
	for value, words := range map[string]string{
		`{"schema":1,"name":"lab","heartbeat_interval":"5"}`: "missing unit",
		`{"schema":1,"name":"lab","window_scale":15}`:        "window_scale",
		`{"schema":1,"name":"lab","mac":"02:00"}`:            "mac",
	} {
		if _, err := decode(key, []byte(value)); err == nil || !strings.Contains(strings.ToLower(err.Error()), words) {
			t.Errorf("%s: error %v: want %q in it", value, err, words)
		}
	}
	if _, err := decode(Key{Kind: "other"}, []byte(`{"schema":1}`)); err == nil {
		t.Error("an unknown kind was read")
	}
}
