// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"slices"
	"strconv"

	"github.com/onevip/onevip/cmd/onevip/labload"
	"github.com/onevip/onevip/topology"
)

// Round is one run of the load through the service of one policy.
type Round struct {
	Policy topology.Policy `json:"policy"`
	Number int             `json:"number"` // from 1
	Nodes  []NodeRound     `json:"nodes"`
	// Inspected counts the whole run, what did not count for clients too.
	Inspected Inspected `json:"inspected"`
	Trace     Trace     `json:"trace"`
	// SwitchLost is how many packets found the switch too busy to take them: the
	// machine's own share in what went wrong.
	SwitchLost int `json:"switch_lost"`
}

// NodeRound is what one node's server did while downloads counted.
type NodeRound struct {
	Node         string `json:"node"`
	Hits         int64  `json:"hits"`
	Misses       int64  `json:"misses"`
	Shared       int64  `json:"shared"`        // waited for another one's miss
	StorageBytes int64  `json:"storage_bytes"` // read from the slow storage
	CachedBytes  int64  `json:"cached_bytes"`  // at the end
}

// Summary is what clients noticed of one policy.
type Summary struct {
	Rounds    int `json:"rounds"`
	Downloads int `json:"downloads"`
	// Slow counts those below Tolerable of the line's rate; those that failed too.
	Slow int `json:"slow_downloads"`
	// SlowHits are those of them whose file was in the cache: what the machine itself adds.
	SlowHits  int              `json:"slow_hits"`
	Failed    int              `json:"failed"`
	HitRatio  float64          `json:"hit_ratio"` // of downloads
	ByteRatio float64          `json:"byte_hit_ratio"`
	StorageMB float64          `json:"storage_mb"` // read from all nodes' slow storage
	FirstP50  float64          `json:"first_byte_p50_ms"`
	FirstP99  float64          `json:"first_byte_p99_ms"`
	Classes   map[string]Class `json:"classes"` // by the size of the files, 0 is the smallest
	Nodes     map[string]Share `json:"nodes"`
	// Copies is how many nodes served each file, on average over the files.
	Copies float64 `json:"nodes_per_file"`
	// Inspected counts what did not count for clients too.
	Inspected  Inspected `json:"inspected,omitempty"`
	SwitchLost int       `json:"switch_lost"`
}

// Class is a part of the downloads.
type Class struct {
	Downloads int `json:"downloads"`
	Slow      int `json:"slow_downloads"`
}

// Share is one node's part.
type Share struct {
	Downloads int     `json:"downloads"`
	Bytes     int64   `json:"bytes"`
	HitRatio  float64 `json:"hit_ratio"`
	StorageMB float64 `json:"storage_mb"`
}

// Summarise gives policy -> what clients on lines of so many bytes per second noticed.
func Summarise(rounds []Round, line float64) map[topology.Policy]Summary {
	byPolicy := map[topology.Policy][]Round{}
	for _, r := range rounds {
		byPolicy[r.Policy] = append(byPolicy[r.Policy], r)
	}
	all := map[topology.Policy]Summary{}
	for policy, rounds := range byPolicy {
		all[policy] = summarise(rounds, line)
	}
	return all
}

func summarise(rounds []Round, line float64) Summary {
	s := Summary{Rounds: len(rounds), Classes: map[string]Class{}, Nodes: map[string]Share{}, Inspected: Inspected{}}
	count := counter{line: line, hits: map[string]int{}, servers: map[string]map[string]bool{}}
	for _, r := range rounds {
		s.SwitchLost += r.SwitchLost
		for what, n := range r.Inspected {
			s.Inspected[what] += n
		}
		for _, d := range r.Trace.Downloads {
			count.add(&s, d)
		}
		for _, n := range r.Nodes {
			share := s.Nodes[n.Node]
			share.StorageMB += megabytes(n.StorageBytes)
			s.Nodes[n.Node] = share
			s.StorageMB += megabytes(n.StorageBytes)
		}
	}
	count.finish(&s)
	return s
}

// counter has what is counted beside the summary.
type counter struct {
	line            float64
	hits            map[string]int // by node
	bytes, hitBytes int64
	first           []float64
	servers         map[string]map[string]bool // path -> nodes that served it
}

func (c *counter) add(s *Summary, d Download) {
	s.Downloads++
	class := s.Classes[strconv.Itoa(d.Class)]
	class.Downloads++
	if d.Slow(c.line) {
		s.Slow++
		class.Slow++
	}
	s.Classes[strconv.Itoa(d.Class)] = class
	if d.Err != "" {
		s.Failed++
		return
	}
	share := s.Nodes[d.Node]
	share.Downloads++
	share.Bytes += d.Bytes
	s.Nodes[d.Node] = share
	c.bytes += d.Bytes
	if d.Hit {
		if d.Slow(c.line) {
			s.SlowHits++
		}
		c.hits[d.Node]++
		c.hitBytes += d.Bytes
	}
	c.first = append(c.first, labload.Milliseconds(d.First))
	if c.servers[d.Path] == nil {
		c.servers[d.Path] = map[string]bool{}
	}
	c.servers[d.Path][d.Node] = true
}

func (c *counter) finish(s *Summary) {
	hits, copies := 0, 0
	for node, share := range s.Nodes {
		hits += c.hits[node]
		share.HitRatio = ratio(c.hits[node], share.Downloads)
		s.Nodes[node] = share
	}
	for _, nodes := range c.servers {
		copies += len(nodes)
	}
	s.HitRatio = ratio(hits, s.Downloads-s.Failed)
	s.ByteRatio = ratio(c.hitBytes, c.bytes)
	s.Copies = ratio(copies, len(c.servers))
	slices.Sort(c.first)
	s.FirstP50, s.FirstP99 = labload.Quantile(c.first, 0.5), labload.Quantile(c.first, 0.99)
}

// ratio is 0 where there is nothing to share.
func ratio[N int | int64](part, whole N) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }
