// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"time"

	"github.com/onevip/onevip/topology"
)

// LocalityRules are topology.LocalityRules as stored.
type LocalityRules struct {
	Key    topology.LocalityKey `json:"key"`
	Low    uint32               `json:"low"`
	High   uint32               `json:"high"`
	Decay  Duration             `json:"decay"`
	Bound  float64              `json:"bound"`
	Silent Silent               `json:"silent"`
}

// Silent is topology.Silent as stored.
type Silent struct {
	After Duration            `json:"after"`
	Then  topology.SilentThen `json:"then"`
}

// Locality is the set of nodes that serve the keys of one bucket, where it is
// not the bucket's home alone. Key: locality/<service>/<bucket>. Written by the
// agent whose node changed the set; the one that changed last counts.
type Locality struct {
	Schema  int                  `json:"schema"`
	Service topology.ServiceName `json:"service"`
	Bucket  int                  `json:"bucket"`
	Nodes   []topology.NodeName  `json:"nodes"`   // at most topology.BucketNodes
	Changed time.Time            `json:"changed"` // by the clock of Writer's node
	Writer  topology.NodeName    `json:"writer"`
}

// LocalitySeen is what clients asked for, as one node saw it that inspected their
// requests. Key: locality-seen/<node>/<service>. Written by the agent, under the
// lease of its Agent.
type LocalitySeen struct {
	Schema   int                  `json:"schema"`
	Node     topology.NodeName    `json:"node"`
	Service  topology.ServiceName `json:"service"`
	Since    time.Time            `json:"since"`             // of the counting
	Requests uint64               `json:"requests"`          // of all buckets
	Buckets  []SeenBucket         `json:"buckets,omitempty"` // the SeenBuckets busiest, the busiest first
}

// SeenBuckets is how many buckets a LocalitySeen names.
const SeenBuckets = 32

// SeenBucket is one bucket of a LocalitySeen.
type SeenBucket struct {
	Bucket   int    `json:"bucket"`
	Requests uint64 `json:"requests"`
	Sample   string `json:"sample,omitempty"` // a key that fell into the bucket, where it may be shown
}

func (l Locality) check() error {
	if err := checkBucket(l.Bucket); err != nil {
		return err
	}
	if n := len(l.Nodes); n == 0 || n > topology.BucketNodes {
		return fmt.Errorf("%d nodes: want 1 to %d", n, topology.BucketNodes)
	}
	return nil
}

func (s LocalitySeen) check() error {
	for _, b := range s.Buckets {
		if err := checkBucket(b.Bucket); err != nil {
			return err
		}
	}
	return nil
}

func checkBucket(n int) error {
	if n < 0 || n >= topology.BucketCount {
		return fmt.Errorf("bucket %d: want 0 to %d", n, topology.BucketCount-1)
	}
	return nil
}

// localityWrite is one set on its way into a store.
type localityWrite struct {
	key     string
	value   []byte // nil: deleted
	changed time.Time
}

// localityWrites makes one write for each bucket, of its newest set.
func localityWrites(cluster string, sets []Locality) ([]localityWrite, error) {
	var writes []localityWrite
	at := make(map[string]int, len(sets))
	for _, set := range sets {
		w, err := writeOf(cluster, set)
		if err != nil {
			return nil, fmt.Errorf("write locality of service %q: %w", set.Service, err)
		}
		i, twice := at[w.key]
		switch {
		case !twice:
			at[w.key] = len(writes)
			writes = append(writes, w)
		case w.changed.After(writes[i].changed):
			writes[i] = w
		}
	}
	return writes, nil
}

func writeOf(cluster string, set Locality) (localityWrite, error) {
	key, err := keyOf(cluster, set)
	if err != nil {
		return localityWrite{}, err
	}
	w := localityWrite{key: key.String(), changed: set.Changed}
	if len(set.Nodes) == 0 {
		return w, nil
	}
	if err := set.check(); err != nil {
		return localityWrite{}, err
	}
	w.value, err = encode(set)
	return w, err
}

// isDue tells whether the write changes what stands under its key; nil: nothing
// does. What cannot be read is left to who can: a newer version may have written it.
func (w localityWrite) isDue(stored []byte) bool {
	if stored == nil {
		return w.value != nil
	}
	key, err := ParseKey(w.key)
	if err != nil {
		return false
	}
	record, err := decode(key, stored)
	if err != nil {
		return false
	}
	have, ok := record.(Locality)
	return ok && w.changed.After(have.Changed)
}
