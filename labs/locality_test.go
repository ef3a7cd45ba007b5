// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"regexp"
	"testing"

	"github.com/dustin/go-humanize"

	"github.com/onevip/onevip/labs/workload"
	"github.com/onevip/onevip/topology"
)

// Lab 03 has services of each policy that looks at requests and of one that does
// not, and that word alone changes a policy.
func TestLocalityContract(t *testing.T) {
	s, err := open("03-locality")
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		port   uint16
		policy topology.Policy
		key    topology.LocalityKey
	}{{80, topology.Locality, "path"}, {81, topology.BoundedHash, "path"}, {82, topology.Locality, "header:x-session"}, {83, topology.LeastConnection, ""}}
	services := clusterOf(t, s).Services
	if len(services) != len(want) {
		t.Fatalf("%d services, want %d", len(services), len(want))
	}
	for i, w := range want {
		if got := services[i]; got.Port != w.port || got.Policy != w.policy || w.key != "" && got.Locality.Key != w.key {
			t.Errorf("service %s at port %d: policy %s, key %s, want %+v", got.Name, got.Port, got.Policy, got.Locality.Key, w)
		}
	}
	compared := clusterOf(t, s, topology.Override{Path: "services[0].policy", Value: "least-connection"})
	if got := compared.Services[0].Policy; got != topology.LeastConnection {
		t.Errorf("for comparison: policy %s", got)
	}
}

// No node of lab 03 can hold all files; four can, whichever way they are split.
func TestLocalityLabHasTooManyFiles(t *testing.T) {
	s, err := open("03-locality")
	if err != nil {
		t.Fatal(err)
	}
	nodes := 0
	for _, node := range s.lab.Nodes {
		if node.Labels[roleLabel] != "server" {
			continue
		}
		nodes++
		words := regexp.MustCompile(`--files (\S+) --cache (\S+)`).FindStringSubmatch(node.Env["ORIGIN"])
		if len(words) != 3 {
			t.Fatalf("%s: ORIGIN is %q", node.Name, node.Env["ORIGIN"])
		}
		var spec workload.Spec
		if err := spec.UnmarshalText([]byte(words[1])); err != nil {
			t.Fatal(err)
		}
		set, err := workload.New(spec)
		if err != nil {
			t.Fatal(err)
		}
		cache, err := humanize.ParseBytes(words[2])
		if err != nil || set.Bytes() < 2*int64(cache) || 4*set.Bytes() > 3*4*int64(cache) {
			t.Errorf("%s: %d bytes of files, %d bytes of cache, error %v", node.Name, set.Bytes(), cache, err)
		}
	}
	if nodes != 4 {
		t.Errorf("%d nodes have files", nodes)
	}
}
