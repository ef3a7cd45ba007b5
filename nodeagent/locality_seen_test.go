// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func TestTheBusiestBucketsAreTold(t *testing.T) {
	book := seenBook{}
	s := state.Service{Name: "web", Policy: topology.BoundedHash}
	var buckets []bpf.Bucket
	for i := range uint16(100) {
		buckets = append(buckets, bpf.Bucket{Index: i, Requests: 1000})
	}
	book.take(start, s, buckets)
	sample := func(_ topology.ServiceID, bucket uint16) (string, error) { return fmt.Sprint("/", bucket), nil }
	if got, err := book.records(sample); err != nil || len(got) != 1 || got[0].Requests != 0 || len(got[0].Buckets) != 0 || !got[0].Since.Equal(start) {
		t.Errorf("at the beginning: %+v", got)
	}
	for i := range buckets {
		buckets[i].Requests += uint64(i % 40)
	}
	buckets[50].Requests = 7 // the filter began anew
	book.take(start.Add(time.Minute), s, buckets)
	all, err := book.records(sample)
	if err != nil {
		t.Fatal(err)
	}
	got := all[0]
	if len(got.Buckets) != state.SeenBuckets || got.Buckets[0] != (state.SeenBucket{Bucket: 39, Requests: 39, Sample: "/39"}) || got.Buckets[1].Bucket != 79 {
		t.Errorf("told %+v", got.Buckets)
	}
	if want := uint64(2*780 + 190 - 10 + 7); got.Requests != want {
		t.Errorf("%d requests, want %d", got.Requests, want)
	}
	if _, err := book.records(func(topology.ServiceID, uint16) (string, error) { return "", errors.New("map is gone") }); err == nil {
		t.Error("samples that can not be read are no error")
	}
	s.ID = 3
	book.keep(state.View{Services: map[topology.ServiceName]state.Service{"web": s}})
	if len(book) > 0 {
		t.Error("a service that has another id is not counted anew")
	}
}
