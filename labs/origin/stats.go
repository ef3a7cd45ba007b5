// SPDX-License-Identifier: Apache-2.0

package origin

// Stats is what /origin/stats says; counts are since the start.
type Stats struct {
	Node     string `json:"node"`
	Workload string `json:"workload"` // workload.Spec, as its UnmarshalText reads it

	Requests    int64 `json:"requests"` // for files, of whose bytes some were sent: hits + misses + shared
	Hits        int64 `json:"hits"`
	Misses      int64 `json:"misses"` // as many reads of the disk
	Shared      int64 `json:"shared"` // waited for the read of a miss
	NotModified int64 `json:"not_modified"`

	BytesServed int64 `json:"bytes_served"` // of files
	StorageRead int64 `json:"storage_bytes_read"`
	CacheBytes  int64 `json:"cache_bytes"` // at most cache_limit
	CacheFiles  int   `json:"cache_files"` // those that are being read, too
	CacheLimit  int64 `json:"cache_limit"`
}

// Stats gives the counts up to now.
func (o *Origin) Stats() Stats {
	s := Stats{
		Node: o.options.Node, Workload: o.options.Files.Spec().String(),
		Hits: o.outcomes[Hit].Load(), Misses: o.outcomes[Miss].Load(), Shared: o.outcomes[Shared].Load(),
		NotModified: o.notModified.Load(), BytesServed: o.sent.Load(), StorageRead: o.disk.bytes.Load(),
		CacheLimit: o.options.Cache,
	}
	s.Requests = s.Hits + s.Misses + s.Shared
	s.CacheBytes, s.CacheFiles = o.cache.holds()
	return s
}
