// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

var evening = time.Date(2026, 1, 2, 20, 0, 0, 0, time.UTC)

// keyedView is testView with services that go by a key: files has sets and was
// asked for things, names was not yet.
func keyedView() state.View {
	view := testView()
	view.Services["files"] = state.Service{Name: "files", Port: 81, Policy: topology.Locality, Locality: &state.LocalityRules{Key: "path"}}
	view.Services["names"] = state.Service{Name: "names", Port: 82, Policy: topology.BoundedHash, Locality: &state.LocalityRules{Key: "tls-sni"}}
	view.Loads["files"] = state.Load{Service: "files", Nodes: map[topology.NodeName]state.NodeLoad{
		"n1": {Weight: 1, Pickable: true}, "n2": {Weight: 3, Pickable: true},
	}}
	film := bucketOf("/films/7.mp4")
	view.Locality = map[topology.ServiceName]map[int]state.Locality{"files": {
		film: {Service: "files", Bucket: film, Nodes: []topology.NodeName{"n2", "n1"}, Changed: evening.Add(-12 * time.Second), Writer: "n1"},
	}}
	view.Seen = map[topology.NodeName]map[topology.ServiceName]state.LocalitySeen{
		"n1": {"files": {Requests: 150, Buckets: []state.SeenBucket{{Bucket: film, Requests: 60, Sample: "/films/7.mp4"}, {Bucket: 5, Requests: 10}}}},
		"n2": {"files": {Requests: 50, Buckets: []state.SeenBucket{{Bucket: 5, Requests: 30, Sample: "/\x1b[2J"}, {Bucket: film, Requests: 20, Sample: "/other"}}}},
	}
	return view
}

func bucketOf(key string) int { return int(scheduler.KeyHash(key) % topology.BucketCount) }

// homeOf is the home among n1 and n2, whose weights are 1 and 3.
func homeOf(bucket int) topology.NodeName {
	homes := scheduler.SourceHash([]scheduler.Candidate{{Node: 1, Weight: 1}, {Node: 2, Weight: 3}})
	return topology.NodeName(fmt.Sprintf("n%d", homes[bucket%scheduler.SourceBuckets]))
}

func tableOf(t *testing.T, r report) string {
	t.Helper()
	var out strings.Builder
	if err := r.writeTable(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLocalityTop(t *testing.T) {
	view := keyedView()
	services, err := inspecting(view, "")
	if err != nil {
		t.Fatal(err)
	}
	film := bucketOf("/films/7.mp4")
	want := fmt.Sprintf(`Service  Bucket  Requests  Share  Nodes  Changed  Key
files    %-6d  80        40.0%%  n1 n2  12s ago  /films/7.mp4
files    5       40        20.0%%  %s     at home  "/\x1b[2J"
`, film, homeOf(5))
	if diff := cmp.Diff(want, tableOf(t, reportTop(view, services, 0, evening))); diff != "" {
		t.Errorf("top (-want +got):\n%s", diff)
	}
	limited := reportTop(view, services, 1, evening)
	if len(limited.Buckets) != 1 || limited.Buckets[0].Bucket != film || !limited.More {
		t.Errorf("the busiest: %+v", limited)
	}
	if all := reportTop(view, services, 2, evening); all.More {
		t.Error("more than all is said to be there")
	}
}

func TestLocalityShow(t *testing.T) {
	view := keyedView()
	view.Nodes["n1"] = state.Node{Name: "n1", ID: 1, State: state.NodeUp, Weight: 1}
	view.Loads["files"].Nodes["n1"] = state.NodeLoad{Reason: "draining"}
	r, err := reportKey(view, "files", "/films/7.mp4?from=3", evening)
	if err != nil {
		t.Fatal(err)
	}
	film := bucketOf("/films/7.mp4")
	want := fmt.Sprintf(`Service   files, locality by path
Key       /films/7.mp4
Bucket    %d of 4096, hash %016x
Home      n2
Nodes     (n1) n2
          n1 is not picked: draining
Changed   12s ago, by n1
Requests  80 of the bucket, 40.0%% of the service's
`, film, scheduler.KeyHash("/films/7.mp4"))
	if diff := cmp.Diff(want, tableOf(t, r)); diff != "" {
		t.Errorf("show (-want +got):\n%s", diff)
	}
}

func TestLocalityShowAtHome(t *testing.T) {
	r, err := reportKey(keyedView(), "files", "/quiet", evening)
	if err != nil {
		t.Fatal(err)
	}
	home := homeOf(bucketOf("/quiet"))
	if !r.atHome() || r.Home != home || len(r.Nodes) != 1 || r.Nodes[0] != home || r.Requests != 0 {
		t.Errorf("%+v, want it at home, %s", r, home)
	}
}

// Where no node may be picked, new connections go to those that are up, and so do
// the homes.
func TestLocalityHomesFailOpen(t *testing.T) {
	view := keyedView()
	for name := range view.Nodes {
		view.Loads["files"].Nodes[name] = state.NodeLoad{Reason: "unhealthy"}
	}
	r, err := reportKey(view, "files", "/quiet", evening)
	if err != nil || r.Home != homeOf(bucketOf("/quiet")) || r.NotPicked[r.Home] != "unhealthy" {
		t.Errorf("error %v, %+v: want a home that is not well", err, r)
	}
	view.Nodes = nil
	if r, err = reportKey(view, "files", "/quiet", evening); err != nil || r.Home != "" || len(r.Nodes) != 0 {
		t.Errorf("error %v, %+v: want no home", err, r)
	}
	if text := tableOf(t, r); !strings.Contains(text, "none: no node is up") {
		t.Errorf("shown as\n%s", text)
	}
}

func TestKeyOf(t *testing.T) {
	tests := []struct {
		rules            topology.LocalityKey
		word, want, says string
	}{
		{"path", "/a/b?q", "/a/b", ""},
		{"path", "http://example.com/a", "/a", ""},
		{"path", "a", "", `"a" is nothing to go by (not_http): write a path, /index.html`},
		{"path", "/a b", "", "not_http"},
		{"path-prefix:1", "/a/b/c", "/a", ""},
		{"host+path", "Example.com/A", "example.com/A", ""},
		{"host+path", "https://example.com/a", "example.com/a", ""},
		{"host+path", "/a", "", "write host and path, example.com/index.html"},
		{"header:x-user", " me ", "me", ""},
		{"header:x-user", " ", "", "(no_key): write the header's value"},
		{"tls-sni", "Example.COM", "example.com", ""},
		{"tls-sni", "", "", "write a server's name"},
	}
	for _, tt := range tests {
		t.Run(string(tt.rules)+" "+tt.word, func(t *testing.T) {
			hash, text, err := keyOf(tt.rules, tt.word)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %v, want %q in it", err, tt.says)
				}
				return
			}
			if err != nil || text != tt.want || hash != scheduler.KeyHash(tt.want) {
				t.Errorf("key %q, hash %x, error %v; want %q", text, hash, err, tt.want)
			}
		})
	}
}

func TestInspectingSaysWhichAre(t *testing.T) {
	none := testView()
	tests := []struct {
		name topology.ServiceName
		view state.View
		want string
	}{
		{"web", keyedView(), "service web has policy least-connection and does not look at requests; by a key go: files, names"},
		{"wen", keyedView(), `there is no service "wen"; by a key go: files, names`},
		{"", none, "no service goes by a key in the request; one does with policy: locality or bounded-hash"},
	}
	for _, tt := range tests {
		_, err := inspecting(tt.view, tt.name)
		if coded := (codedError{}); !errors.As(err, &coded) || coded.code != exitUsage || err.Error() != tt.want {
			t.Errorf("%q: error %v, want %s", tt.name, err, tt.want)
		}
	}
	if _, err := reportKey(keyedView(), "", "/a", evening); err == nil || err.Error() != "of which service? Write --service files or names" {
		t.Errorf("error %v", err)
	}
}

// Programs read the JSON: these names do not change.
func TestLocalityJSONNames(t *testing.T) {
	r, err := reportKey(keyedView(), "files", "/films/7.mp4", evening)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Service, Policy, By, Key, Hash, Home, Writer, Age string
		Bucket, Requests                                  int
		Share                                             float64
		Nodes                                             []string
		Changed                                           time.Time
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Service != "files" || got.Policy != "locality" || got.By != "path" || got.Key != "/films/7.mp4" || got.Bucket != r.Bucket ||
		got.Requests != 80 || got.Share != 0.4 || len(got.Nodes) != 2 || !got.Changed.Equal(evening.Add(-12*time.Second)) || got.Writer != "n1" {
		t.Errorf("locality show as JSON: %s", text)
	}
}

func TestServicesShowTheKey(t *testing.T) {
	view := keyedView()
	files := view.Services["files"]
	files.VIPs = view.Services["web"].VIPs
	view.Services["files"] = files
	if text := tableOf(t, servicesReport{reportServices(view)}); !strings.Contains(text, "TCP  10.77.0.1:81       locality by path  files\n") {
		t.Errorf("services:\n%s", text)
	}
	if text := statusText(t, view); !strings.Contains(text, "files    10.77.0.1:81 [fd77::1]:81  locality by path") {
		t.Errorf("status:\n%s", text)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"/a": "/a", "/ü": "/ü", "/1234567890": "/12345678…", "a\nb": `"a\nb"`, "\xff": `"\xff"`,
	} {
		if got := printable(text, 10); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
}
