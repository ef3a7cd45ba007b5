// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

// sampled tells what of the payload's key is kept for its bucket.
func (in *inspector) sampled(t *testing.T, key topology.LocalityKey, payload string) string {
	t.Helper()
	if why := in.agree(t, key, []byte(payload)); why != scheduler.Inspected {
		t.Fatalf("%s of %q: %s", key, payload, why)
	}
	kind, segments, name := key.Parse()
	hash, _, _ := scheduler.Key(kind, segments, name, []byte(payload))
	f := &Filter{objs: onevipObjects{onevipMaps: onevipMaps{Samples: in.Samples}}}
	text, err := f.Sample(0, uint16(hash%localityBuckets))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestFixtureSamples(t *testing.T) {
	in := newInspector(t)
	long := strings.Repeat("0123456789", 6)
	tests := []struct {
		name, payload string
		key           topology.LocalityKey
		want          string
	}{
		{"path", "GET /a/b?secret HTTP/1.1\r\n\r\n", "path", "/a/b"},
		{"first segment", "GET /c/d HTTP/1.1\r\n\r\n", "path-prefix:1", "/c"},
		{"host and path", "GET /A HTTP/1.1\r\nHost: Example.COM\r\n\r\n", "host+path", "example.com/A"},
		{"host of the target", "GET http://Example.ORG HTTP/1.1\r\n\r\n", "host+path", "example.org/"},
		{"long path", "GET /" + long + " HTTP/1.1\r\n\r\n", "path", "/" + long[:47]},
		{"long host", "GET /a HTTP/1.1\r\nHost: " + long + "\r\n\r\n", "host+path", long[:48]},
		{"not printable", "GET /\x7f\xc3\xa9\xff! HTTP/1.1\r\n\r\n", "path", "/....!"},
		{"header", "GET /a/b HTTP/1.1\r\nX-User: Ann\r\n\r\n", "header:x-user", ""},
	}
	for _, tt := range tests {
		if got := in.sampled(t, tt.key, tt.payload); got != tt.want {
			t.Errorf("%s: sample %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The first key of a bucket stays, until the service has another kind of key.
func TestFixtureSamplesStay(t *testing.T) {
	in := newInspector(t)
	const request = "GET /a/b HTTP/1.1\r\n\r\n"
	hash, _, _ := scheduler.Key(topology.KeyPath, 0, "", []byte(request))
	first, other := uint32(hash%localityBuckets), uint32(1*localityBuckets)
	for _, key := range []uint32{first, other} {
		sample := onevipOvSample{Text: [48]uint8{'/', 'o', 'l', 'd'}}
		if err := in.Samples.Update(key, &sample, ebpf.UpdateNoExist); err != nil {
			t.Fatal(err)
		}
	}
	if got := in.sampled(t, "path", request); got != "/old" {
		t.Errorf("sample %q, want the first one", got)
	}
	f := &Filter{objs: onevipObjects{onevipMaps: onevipMaps{Samples: in.Samples}}}
	if err := f.forgetSamples(0); err != nil {
		t.Fatal(err)
	}
	if got := in.sampled(t, "path", request); got != "/a/b" {
		t.Errorf("sample %q, want one of the new kind", got)
	}
	if text, err := f.Sample(1, 0); err != nil || text != "/old" {
		t.Errorf("another service's sample is %q, %v", text, err)
	}
}
