// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"container/heap"
	"container/list"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/onevip/onevip/topology"
)

// lru is a cache of keys.
type lru struct {
	room  int
	order *list.List
	has   map[uint64]*list.Element
}

func newLRU(room int) *lru { return &lru{room, list.New(), map[uint64]*list.Element{}} }

// use tells whether the key is there; from now on it is.
func (c *lru) use(key uint64) bool {
	if e, ok := c.has[key]; ok {
		c.order.MoveToFront(e)
		return true
	}
	c.has[key] = c.order.PushFront(key)
	if c.order.Len() > c.room {
		delete(c.has, c.order.Remove(c.order.Back()).(uint64))
	}
	return false
}

// server is a node of the simulation: one request at a time, and if that is not in its
// cache, all behind it wait for the disk.
type server struct {
	cache          *lru
	free, diskFree time.Duration // from when on
}

// end is when a connection does.
type end struct {
	at   time.Duration
	node int
}

type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// farm is a cluster without a network, on a clock of events.
type farm struct {
	now     time.Duration
	nodes   []Candidate
	servers []server
	running ends

	requests, hits int
	uneven         float64 // sum of max/mean load at all arrivals
	most           uint64  // load of a node
}

const (
	farmNodes  = 8
	farmKeys   = 20_000
	farmCache  = 2_000                  // keys of a node: a tenth of all
	memoryTime = 5 * time.Millisecond   // of a node's processor, one request by one
	diskTime   = 20 * time.Millisecond  // of its disk, likewise
	lineTime   = 100 * time.Millisecond // until the client has got it all
	arrival    = time.Millisecond       // mean time between requests
)

func newFarm() *farm {
	f := &farm{}
	for i := range farmNodes {
		f.nodes = append(f.nodes, Candidate{Node: topology.NodeID(i + 1), Weight: WeightUnit})
		f.servers = append(f.servers, server{cache: newLRU(farmCache)})
	}
	return f
}

// run lets so many requests of a Zipf distribution arrive, at random times.
func (f *farm) run(requests int, place func(f *farm, key uint64) topology.NodeID) {
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.1, 1, farmKeys-1)
	for n := range requests {
		f.now += time.Duration(r.ExpFloat64() * float64(arrival))
		for len(f.running) > 0 && f.running[0].at <= f.now {
			f.nodes[heap.Pop(&f.running).(end).node].Active--
		}
		key := zipf.Uint64()
		i := int(place(f, key)) - 1
		f.serve(i, key, n > requests/4) // the caches are warm then
	}
}

func (f *farm) serve(i int, key uint64, counts bool) {
	s := &f.servers[i]
	ready, hit := f.now, s.cache.use(key)
	if !hit {
		s.diskFree = max(s.diskFree, f.now) + diskTime
		ready = s.diskFree
	}
	s.free = max(s.free, ready) + memoryTime
	f.nodes[i].Active++
	f.nodes[i].Assigned++
	f.nodes[i].Settled++
	heap.Push(&f.running, end{s.free + lineTime, i})
	if !counts {
		return
	}
	f.requests++
	if hit {
		f.hits++
	}
	load, _ := pool(f.nodes).total()
	most := uint64(0)
	for _, c := range f.nodes {
		most = max(most, c.load())
	}
	f.most = max(f.most, most)
	f.uneven += float64(most) * farmNodes / float64(load)
}

// unevenness is the highest load to the mean one, at an average arrival.
func (f *farm) unevenness() float64 { return f.uneven / float64(f.requests) }

func (f *farm) hitRatio() float64 { return float64(f.hits) / float64(f.requests) }

// number is a key's bucket.
func number(key uint64) uint16 { return uint16(key * 0x9e3779b97f4a7c15 >> 52) }

// byLARD keeps the sets, and counts what became of the requests.
func byLARD(rules LARD, homes []topology.NodeID, outcomes map[Outcome]int) func(*farm, uint64) topology.NodeID {
	buckets := map[uint16]Bucket{}
	return func(f *farm, key uint64) topology.NodeID {
		b := buckets[number(key)]
		b.Number = number(key)
		d := rules.Decide(f.now, b, homes, f.nodes)
		if outcomes[d.Outcome]++; d.Outcome == Grown || d.Outcome == Shrunk {
			b.Set, b.Changed = d.Set, f.now
		}
		buckets[b.Number] = b
		return d.Owner
	}
}

// What LARD/R and bounded-hash are for: by least connection each node caches the same
// keys; by hashing alone the node of the hottest key drowns. Both avoid both.
func TestLocalityUsesTheCaches(t *testing.T) {
	const requests = 100_000
	homes := SourceHash(newFarm().nodes)
	outcomes := map[Outcome]int{}
	rules := LARD{Low: 25, High: 65, Decay: 20 * time.Second}
	places := map[string]func(*farm, uint64) topology.NodeID{
		"least":   func(f *farm, _ uint64) topology.NodeID { return Pick(topology.LeastConnection, f.nodes) },
		"hashing": func(_ *farm, key uint64) topology.NodeID { return homes[number(key)%SourceBuckets] },
		"lard":    byLARD(rules, homes, outcomes),
		"bounded": func(f *farm, key uint64) topology.NodeID {
			id, _ := BoundedHash(BoundUnit*5/4, Bucket{Number: number(key)}, homes, f.nodes)
			return id
		},
	}
	farms := map[string]*farm{}
	for name, place := range places {
		f := newFarm()
		f.run(requests, place)
		farms[name] = f
		t.Logf("%-8s hits %.3f, highest load %d, highest to mean %.2f", name, f.hitRatio(), f.most, f.unevenness())
	}
	misses := func(name string) float64 { return 1 - farms[name].hitRatio() }
	if misses("lard") > misses("least")/2 || misses("bounded") > misses("least")/1.5 {
		t.Error("locality saves too few misses")
	}
	if most := farms["lard"].most; most > uint64(2*rules.High) || farms["hashing"].most < 5*most {
		t.Errorf("a load of %d under LARD: want at most %d, and far less than by hashing", most, 2*rules.High)
	}
	if u := farms["bounded"].unevenness(); u > 1.4 {
		t.Errorf("bounded-hash: the highest load is %.2f times the mean, the bound is 1.25", u)
	}
	if outcomes[Grown] == 0 || outcomes[Shrunk] == 0 {
		t.Errorf("outcomes %v: sets should grow and shrink", outcomes)
	}
}

// Where all are overloaded alike LARD does not make copies that help nobody.
func TestLARDKeepsTheCachesUnderOverload(t *testing.T) {
	f, outcomes := newFarm(), map[Outcome]int{}
	f.run(100_000, byLARD(LARD{Low: 1, High: 3, Decay: 20 * time.Second}, SourceHash(f.nodes), outcomes))
	if f.hitRatio() < 0.88 || f.unevenness() > 2 {
		t.Errorf("hits %.3f, highest load to mean %.2f, %v", f.hitRatio(), f.unevenness(), outcomes)
	}
}
