// SPDX-License-Identifier: Apache-2.0

package topology

import (
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
