// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOverrides(t *testing.T) {
	file := minimal + "heartbeat: {interval: 200ms}\ncookie:\n"
	c, err := Parse("f", []byte(file),
		Override{"heartbeat.interval", "50ms", "flag --heartbeat-interval"},
		Override{"cookie.rotate", "20s", "flag --cookie-rotate"},
		Override{"conns.max_rate", "7", "environment ONEVIP_CONNS_MAX_RATE"},
		Override{"schedulers", "1", "flag --schedulers"},
		Override{"controller.metrics", "", "flag --controller-metrics"},
		Override{"etcd.endpoints", "https://a:1, https://b:2", "flag --etcd-endpoints"},
		Override{"etcd.insecure", "true", "flag --etcd-insecure"},
		Override{"mac", "02:00:00:00:00:09", "flag --mac"},
		Override{"cluster", "123", "flag --cluster"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Heartbeat.Interval != 50*time.Millisecond || c.Cookie.Rotate != 20*time.Second || c.Conns.MaxRate != 7 ||
		c.Schedulers != OneScheduler || !c.Etcd.Insecure || c.MAC != (MAC{2, 0, 0, 0, 0, 9}) || c.Name != "123" {
		t.Errorf("not all overrides are in force: %+v", c)
	}
	if diff := cmp.Diff([]string{"https://a:1", "https://b:2"}, c.Etcd.Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got)\n%s", diff)
	}
}

// The policy decides on the rules' defaults, whoever sets it.
func TestOverridesOfItems(t *testing.T) {
	file := strings.Replace(minimal, "- {name: n1, port: p1}", "- &n {name: n1, port: p1}", 1)
	c, err := Parse("f", []byte(file),
		Override{"services[0].policy", "locality", "flag --set"},
		Override{"services[0].locality.key", "header:X-User", "flag --set"},
		Override{"services[0].locality.silent.after", "1s", "flag --set"},
		Override{"services[0].locality.bound", "2.5", "flag --set"},
		Override{"nodes[0].weight", "3", "flag --set"},
		Override{"switches[0].uplinks", "a,b", "flag --set"})
	if err != nil {
		t.Fatal(err)
	}
	want := LocalityRules{Key: "header:x-user", Low: 25, High: 65, Decay: 20 * time.Second, Bound: 2.5, Silent: Silent{time.Second, SilentLeastConnection}}
	if diff := cmp.Diff(want, c.Services[0].Locality); diff != "" {
		t.Errorf("locality (-want +got)\n%s", diff)
	}
	if c.Nodes[0].Weight != 3 || len(c.Switches[0].Uplinks) != 2 {
		t.Errorf("weight %d, uplinks %v", c.Nodes[0].Weight, c.Switches[0].Uplinks)
	}
}

func TestOverrideErrorsNameTheOrigin(t *testing.T) {
	tests := []struct {
		override   Override
		file, want string
	}{
		{Override{"heartbeat.interval", "5", "flag --heartbeat-interval"}, minimal,
			`flag --heartbeat-interval: heartbeat.interval: 5 has no unit; write 5ms or 5s`},
		{Override{"heartbeat.interval", "1ms", "environment ONEVIP_HEARTBEAT_INTERVAL"}, minimal,
			`environment ONEVIP_HEARTBEAT_INTERVAL: heartbeat.interval: 1ms is out of range; write 10ms to 10s`},
		{Override{"heartbeat.misses", "", "flag --heartbeat-misses"}, minimal,
			`flag --heartbeat-misses: heartbeat.misses: has no value; write one, or leave the key out`},
		{Override{"heartbeat.interva", "5ms", "flag -x"}, minimal,
			`flag -x: heartbeat.interva: can't be set from outside the file; write heartbeat.interval`},
		{Override{"services[1].policy", "locality", "flag --set"}, minimal,
			`flag --set: services[1].policy: the file has 1 under services; count from 0 to one that is there`},
		{Override{"services[].policy", "locality", "flag --set"}, minimal,
			`flag --set: services[].policy: can't be set from outside the file; write services[0].policy`},
		{Override{"services[0].locality.kee", "path", "flag --set"}, minimal,
			`flag --set: services[0].locality.kee: can't be set from outside the file; write services[0].locality.key`},
		{Override{"services[0].locality.key", "path", "flag --set"}, minimal,
			`flag --set: services[0].locality: policy least-connection does not look at requests; leave it out, or write policy: locality or bounded-hash`},
		{Override{"services[0].locality.key", "no", "flag --set"}, minimal + "    policy: locality\n",
			`flag --set: services[0].locality.key: "no" is no key; write path, path-prefix:N, host+path, header:NAME or tls-sni`},
		{Override{"etcd.endpoints", "https://a:1,b", "flag --etcd-endpoints"}, minimal,
			`flag --etcd-endpoints: etcd.endpoints[1]: "b" is no http or https URL; write one like https://192.0.2.1:2379`},
		{Override{"heartbeat.interval", "5ms", "flag --heartbeat-interval"}, minimal + "heartbeat: 5\n",
			`f:10: heartbeat: is a number, not a block; write its keys below it: preset, interval, misses`},
	}
	for _, tt := range tests {
		t.Run(tt.override.Origin+" "+tt.override.Value, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.file), tt.override)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Every path has a doc string, and its default is accepted as an override.
func TestPaths(t *testing.T) {
	paths := Paths()
	if len(paths) != len(pathDocs) {
		t.Errorf("%d paths, %d doc strings", len(paths), len(pathDocs))
	}
	for _, p := range paths {
		if p.Doc == "" || p.Kind == "" {
			t.Errorf("%s has no doc string or kind: %+v", p.Path, p)
		}
		if p.Path == "cluster" {
			continue // has no default
		}
		if _, err := Parse("f", []byte(minimal), Override{p.Path, p.Default, "flag"}); err != nil {
			t.Errorf("the default of %s: %v", p.Path, err)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for path, want := range map[string]string{
		"speculation.delay":        "",
		"services[0].locality.key": "",
		"nodes[253].weight":        "",
		"speculation.dely":         "speculation.dely: can't be set from outside the file; write speculation.delay",
		"services[].policy":        "services[].policy: can't be set from outside the file; write services[0].policy",
	} {
		got := ""
		if err := CheckPath(path); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestEnvName(t *testing.T) {
	for path, want := range map[string]string{
		"heartbeat.interval":                 "ONEVIP_HEARTBEAT_INTERVAL",
		"services[12].locality.silent.after": "ONEVIP_SERVICES_12_LOCALITY_SILENT_AFTER",
	} {
		if got := EnvName(path); got != want {
			t.Errorf("%s is set by %s, want %s", path, got, want)
		}
	}
}
