// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/onevip/onevip/topology"
)

// Sample is the beginning of a key that fell into this bucket of the service, to be
// shown: at most 48 bytes, what is not printable as a dot. It is empty if there was
// none yet, if the key is a header's value, which is never kept, or if 16384 buckets
// came before.
func (f *Filter) Sample(service topology.ServiceID, bucket uint16) (string, error) {
	var sample onevipOvSample
	key := uint32(service)*localityBuckets + uint32(bucket)%localityBuckets
	err := f.objs.Samples.Lookup(key, &sample)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return "", fmt.Errorf("read the sample of bucket %d of service %d: %w", bucket, service, err)
	}
	text, _, _ := bytes.Cut(sample.Text[:], []byte{0})
	return string(text), nil
}

// forgetSamples removes those of a service whose key is another now.
func (f *Filter) forgetSamples(service uint32) error {
	var key uint32
	var sample onevipOvSample
	var old []uint32
	entries := f.objs.Samples.Iterate()
	for entries.Next(&key, &sample) {
		if key/localityBuckets == service {
			old = append(old, key)
		}
	}
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("look for samples of service %d: %w", service, err)
	}
	for _, key := range old {
		if err := f.objs.Samples.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget the samples of service %d: %w", service, err)
		}
	}
	return nil
}
