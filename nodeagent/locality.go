// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"cmp"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

const (
	// localityRate bounds what this node writes of its sets, in records a second.
	// What is more waits, the oldest first.
	localityRate = 512
	// localityPatience is how long a record that was written may stay out of sight:
	// Views come later than writes end. After that somebody has deleted it.
	localityPatience = 5 * time.Second
)

// localityCore keeps the sets of the nodes that inspect the same. Each node changes its
// own, in its kernel; here the newest of each bucket reaches the store, and from
// there the others' kernels. It has no clock and does no I/O. Not for concurrent use.
type localityCore struct {
	self  topology.NodeName
	names nodeNames
	books map[topology.ServiceName]*setBook
	since time.Time // of the cluster record: a store that was lost begins another
}

// setBook is what is known of one service's sets, by bucket.
type setBook struct {
	id      topology.ServiceID
	records map[int]state.Locality // of the newest View
	entries map[int]*setEntry
}

// setEntry is what is known of one set.
type setEntry struct {
	set // as it is here

	// ids are the same as the kernel has them, since at. If it shows others, it has
	// changed the set by itself.
	ids []topology.NodeID
	at  time.Duration

	stored set       // as the store had it last; zero: it has none, as far as we know
	wrote  time.Time // when this node last wrote it; zero: never, or it was seen there since
	isPut  bool      // what it wrote then is this set
}

// set is a set as all nodes name it. No nodes: the bucket is at its home.
type set struct {
	nodes   []topology.NodeName // in order
	changed time.Time
	writer  topology.NodeName
}

// beats tells whether s shall be in the place of what the store has: it was changed later.
// Of two that were changed at the same moment the store keeps the first, and so do all.
func (s set) beats(stored set) bool { return s.changed.After(stored.changed) }

func (s set) equals(other set) bool {
	return s.changed.Equal(other.changed) && s.writer == other.writer && slices.Equal(s.nodes, other.nodes)
}

// nodeNames are those of the nodes that a set can name.
type nodeNames struct {
	names map[topology.NodeID]topology.NodeName
	ids   map[topology.NodeName]topology.NodeID
}

// namesOf leaves failed nodes out: they come back under another id.
func namesOf(v state.View) nodeNames {
	n := nodeNames{map[topology.NodeID]topology.NodeName{}, map[topology.NodeName]topology.NodeID{}}
	for name, node := range v.Nodes {
		if node.ID.Valid() && node.State != state.NodeFailed {
			n.names[node.ID], n.ids[name] = name, node.ID
		}
	}
	return n
}

func (n nodeNames) named(ids []topology.NodeID) []topology.NodeName { return translate(n.names, ids) }

func (n nodeNames) numbered(names []topology.NodeName) []topology.NodeID {
	out := translate(n.ids, names)
	return out[:min(len(out), topology.BucketNodes)]
}

// translate leaves out what the table does not know. The result is in order.
func translate[From comparable, To cmp.Ordered](table map[From]To, from []From) (out []To) {
	for _, f := range from {
		if to, known := table[f]; known {
			out = append(out, to)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func newLocalityCore(self topology.NodeName) *localityCore {
	return &localityCore{self: self, books: map[topology.ServiceName]*setBook{}}
}

// follow takes what the store delivered; there must be a cluster record. What the kernel
// has of services that are gone the filter removes by itself.
func (c *localityCore) follow(v state.View) {
	c.names = namesOf(v)
	for name, book := range c.books {
		if s, there := v.Services[name]; !there || s.Policy != topology.Locality || s.ID != book.id {
			delete(c.books, name)
		}
	}
	for name, s := range v.Services {
		if s.Policy != topology.Locality {
			continue
		}
		if c.books[name] == nil {
			c.books[name] = &setBook{id: s.ID, entries: map[int]*setEntry{}}
		}
		c.books[name].records = v.Locality[name]
	}
	if !c.since.Equal(v.Cluster.Created) {
		c.since = v.Cluster.Created
		c.forgetStored()
	}
}

// forgetStored makes everything be written once more: what is missing in a new store was
// not deleted.
func (c *localityCore) forgetStored() {
	for _, book := range c.books {
		for _, e := range book.entries {
			e.stored, e.wrote, e.isPut = set{}, time.Time{}, false
		}
	}
}

// forget makes the next look at a service's sets the first one: what should have been
// written into the kernel may not be there.
func (c *localityCore) forget(service topology.ServiceName) {
	if book := c.books[service]; book != nil {
		clear(book.entries)
	}
}

// look compares what the kernel has with what the store has, and gives what the kernel
// should have instead: other nodes, and a later time, for it takes nothing older.
func (c *localityCore) look(t clocks, service topology.ServiceName, buckets []bpf.Bucket) (writes []bpf.Bucket) {
	book := c.books[service]
	c.observeAll(t, book, buckets)
	for bucket, e := range book.entries {
		ids, at := e.ids, e.at
		c.settle(t, book, bucket)
		if !slices.Equal(ids, e.ids) {
			e.at = max(e.at, at+1)
			writes = append(writes, bpf.Bucket{Index: uint16(bucket), Nodes: e.ids, Changed: e.at})
		}
	}
	slices.SortFunc(writes, func(a, b bpf.Bucket) int { return int(a.Index) - int(b.Index) })
	return writes
}

// observeAll takes what the kernel has, and has not. Most buckets never had a set.
func (c *localityCore) observeAll(t clocks, book *setBook, buckets []bpf.Bucket) {
	here := map[int]bpf.Bucket{}
	for _, b := range buckets {
		if b.Changed != 0 {
			here[int(b.Index)] = b
			c.observe(t, book, int(b.Index), b)
		}
	}
	for bucket := range book.entries {
		if here[bucket].Changed == 0 {
			c.observe(t, book, bucket, bpf.Bucket{})
		}
	}
	for bucket := range book.records {
		if book.entries[bucket] == nil {
			c.observe(t, book, bucket, bpf.Bucket{})
		}
	}
}

// observe takes a bucket as the kernel has it. What the kernel changed by itself since the
// last look is newer than what it had, whatever the clocks of nodes say.
func (c *localityCore) observe(t clocks, book *setBook, bucket int, b bpf.Bucket) {
	e, ids := book.entries[bucket], sorted(b.Nodes)
	now := set{nodes: c.names.named(ids), changed: t.wallOf(b.Changed), writer: c.self}
	switch {
	case e == nil:
		e = &setEntry{set: now}
		book.entries[bucket] = e
		if b.Changed == 0 {
			e.set = set{} // the kernel never had one
		}
		if r, there := book.records[bucket]; there && slices.Equal(ids, c.names.numbered(r.Nodes)) {
			e.set = setOf(r) // an earlier agent left it so
		}
	case !slices.Equal(e.ids, ids):
		if !now.changed.After(e.changed) {
			now.changed = e.changed.Add(time.Microsecond)
		}
		e.set, e.isPut = now, false
	}
	e.ids, e.at = ids, b.Changed
}

// settle decides which set of a bucket is in force here.
func (c *localityCore) settle(t clocks, book *setBook, bucket int) {
	e := book.entries[bucket]
	r, there := book.records[bucket]
	switch {
	case there:
		e.stored = setOf(r)
		if e.beats(e.stored) {
			break
		}
		if !e.equals(e.stored) {
			e.set, e.at = e.stored, t.monotonicOf(e.stored.changed)
		}
		e.wrote, e.isPut = time.Time{}, false
	case e.isPending(t.wall):
	case len(e.nodes) == 0 || e.isPut || e.stored.equals(e.set):
		// At home, or deleted by another: the next set is newer than this, whatever
		// clock it is from.
		*e = setEntry{at: e.at}
	}
	e.ids = c.names.numbered(e.nodes)
}

// isPending tells whether the Views may be from before this node wrote the set.
func (e *setEntry) isPending(now time.Time) bool {
	return !e.wrote.IsZero() && now.Sub(e.wrote) < localityPatience
}

// isDue tells whether the store should have the set, and has not.
func (e *setEntry) isDue(now time.Time, there bool) bool {
	if e.isPut && e.isPending(now) {
		return false
	}
	return there && e.beats(e.stored) || !there && len(e.nodes) > 0
}

// due gives at most limit sets that the store should have, the oldest change first.
func (c *localityCore) due(now time.Time, limit int) (sets []state.Locality) {
	for service, book := range c.books {
		for bucket, e := range book.entries {
			if _, there := book.records[bucket]; e.isDue(now, there) {
				sets = append(sets, e.record(service, bucket))
			}
		}
	}
	slices.SortFunc(sets, func(a, b state.Locality) int {
		return cmp.Or(a.Changed.Compare(b.Changed), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Bucket, b.Bucket))
	})
	return sets[:min(len(sets), limit)]
}

// wrote tells that the store took these, which due gave.
func (c *localityCore) wrote(now time.Time, sets []state.Locality) {
	for _, s := range sets {
		e := c.books[s.Service].entries[s.Bucket]
		e.wrote, e.isPut = now, true
	}
}

// sets counts the buckets of a service that are not just at home here.
func (c *localityCore) sets(service topology.ServiceName) (n int) {
	for _, e := range c.books[service].entries {
		if len(e.ids) > 0 {
			n++
		}
	}
	return n
}

func (e *setEntry) record(service topology.ServiceName, bucket int) state.Locality {
	return state.Locality{Schema: state.Schema, Service: service, Bucket: bucket,
		Nodes: e.nodes, Changed: e.changed, Writer: e.writer}
}

func setOf(r state.Locality) set {
	nodes := slices.Clone(r.Nodes)
	slices.Sort(nodes)
	return set{nodes: slices.Compact(nodes), changed: r.Changed, writer: r.Writer}
}

func sorted(ids []topology.NodeID) []topology.NodeID {
	out := slices.Clone(ids)
	slices.Sort(out)
	return slices.Compact(out)
}
