// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// bucketReport is one bucket of the keys of a service.
type bucketReport struct {
	Service  topology.ServiceName `json:"service"`
	Bucket   int                  `json:"bucket"`
	Requests uint64               `json:"requests"`         // as far as nodes tell
	Share    float64              `json:"share"`            // of the service's, 0..1
	Sample   string               `json:"sample,omitempty"` // a key that fell into the bucket
	Home     topology.NodeName    `json:"home,omitempty"`   // where it is by its hash; empty: no node may be picked
	Nodes    []topology.NodeName  `json:"nodes"`            // that serve it
	Changed  *time.Time           `json:"changed,omitempty"`
	Age      string               `json:"age,omitempty"` // of Changed, when it was shown
	Writer   topology.NodeName    `json:"writer,omitempty"`
	// NotPicked are those of Nodes that get nothing now, and why.
	NotPicked map[topology.NodeName]string `json:"not_picked,omitempty"`
}

// atHome tells whether the bucket is where it is by its hash alone.
func (b bucketReport) atHome() bool { return b.Changed == nil }

// nodes lists the nodes, those that get nothing in parentheses.
func (b bucketReport) nodes() string {
	words := make([]string, len(b.Nodes))
	for i, node := range b.Nodes {
		words[i] = string(node)
		if _, out := b.NotPicked[node]; out {
			words[i] = "(" + words[i] + ")"
		}
	}
	return cmp.Or(strings.Join(words, " "), "-")
}

// bucketBook is what is known of one service's buckets.
type bucketBook struct {
	view    state.View
	service state.Service
	now     time.Time
	total   uint64 // requests of all buckets
	seen    map[int]state.SeenBucket
	homes   []topology.NodeID
	names   map[topology.NodeID]topology.NodeName
}

func newBucketBook(view state.View, service state.Service, now time.Time) *bucketBook {
	b := &bucketBook{view: view, service: service, now: now, seen: map[int]state.SeenBucket{}, names: map[topology.NodeID]topology.NodeName{}}
	b.count()
	b.settle()
	return b
}

// count adds up what the nodes saw. The sample is that of the node that saw most.
func (b *bucketBook) count() {
	most := map[int]uint64{}
	for _, node := range sortedNodes(b.view) {
		seen := b.view.Seen[node.Name][b.service.Name]
		b.total += seen.Requests
		for _, bucket := range seen.Buckets {
			sum := b.seen[bucket.Bucket]
			sum.Bucket, sum.Requests = bucket.Bucket, sum.Requests+bucket.Requests
			if bucket.Sample != "" && bucket.Requests > most[bucket.Bucket] {
				sum.Sample, most[bucket.Bucket] = bucket.Sample, bucket.Requests
			}
			b.seen[bucket.Bucket] = sum
		}
	}
}

// settle computes the homes as the nodes do, among those that may be picked, or,
// where none may, those that are up.
func (b *bucketBook) settle() {
	var pickable, up []scheduler.Candidate
	for _, node := range sortedNodes(b.view) {
		b.names[node.ID] = node.Name
		candidate := scheduler.Candidate{Node: node.ID, Weight: max(1, node.Weight)}
		if reportServer(b.view, b.service.Name, node).Pickable {
			pickable = append(pickable, candidate)
		}
		if node.State == state.NodeUp {
			up = append(up, candidate)
		}
	}
	if len(pickable) == 0 {
		pickable = up
	}
	b.homes = scheduler.SourceHash(pickable)
}

func (b *bucketBook) report(bucket int) bucketReport {
	seen := b.seen[bucket]
	r := bucketReport{
		Service: b.service.Name, Bucket: bucket, Requests: seen.Requests, Sample: seen.Sample,
		Share: share(seen.Requests, b.total), Home: b.names[b.homes[bucket%scheduler.SourceBuckets]], Nodes: []topology.NodeName{},
	}
	set, moved := b.view.Locality[b.service.Name][bucket]
	switch {
	case moved:
		r.Nodes, r.Changed, r.Writer = slices.Sorted(slices.Values(set.Nodes)), &set.Changed, set.Writer
		r.Age = max(0, b.now.Sub(set.Changed)).Round(time.Second).String()
	case r.Home != "":
		r.Nodes = append(r.Nodes, r.Home)
	}
	r.NotPicked = b.notPicked(r.Nodes)
	return r
}

// notPicked tells which of the nodes get nothing now, and why.
func (b *bucketBook) notPicked(nodes []topology.NodeName) map[topology.NodeName]string {
	out := map[topology.NodeName]string{}
	for _, name := range nodes {
		node, member := b.view.Nodes[name]
		if !member {
			out[name] = "left the cluster"
			continue
		}
		if server := reportServer(b.view, b.service.Name, node); !server.Pickable {
			out[name] = server.status()
		}
	}
	return out
}

// topReport is what onevip locality top shows.
type topReport struct {
	Buckets []bucketReport `json:"buckets"`
	// More tells that --limit left some out.
	More bool `json:"more"`
}

// reportTop gives at most limit (0: all) of the buckets that nodes tell of, the
// busiest first.
func reportTop(view state.View, services []state.Service, limit int, now time.Time) topReport {
	report := topReport{Buckets: []bucketReport{}}
	for _, service := range services {
		book := newBucketBook(view, service, now)
		for bucket := range book.seen {
			report.Buckets = append(report.Buckets, book.report(bucket))
		}
	}
	slices.SortFunc(report.Buckets, func(a, b bucketReport) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Bucket, b.Bucket))
	})
	if limit > 0 && len(report.Buckets) > limit {
		report.Buckets, report.More = report.Buckets[:limit], true
	}
	return report
}

func (r topReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Service", "Bucket", "Requests", "Share", "Nodes", "Changed", "Key")
	for _, b := range r.Buckets {
		changed := "at home"
		if !b.atHome() {
			changed = b.Age + " ago"
		}
		t.row(b.Service, b.Bucket, b.Requests, percent(b.Share), b.nodes(), changed, cmp.Or(printable(b.Sample, 60), "-"))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(r.Buckets) == 0 {
		_, err := fmt.Fprintln(w, "(no node tells of a request that had a key)")
		return err
	}
	if !r.More {
		return nil
	}
	_, err := fmt.Fprintf(w, "(the busiest %d; --limit 0 shows all that are known)\n", len(r.Buckets))
	return err
}

// keyReport is what onevip locality show shows.
type keyReport struct {
	bucketReport
	Policy topology.Policy      `json:"policy"`
	By     topology.LocalityKey `json:"by"`   // the part of the request that is the key
	Key    string               `json:"key"`  // as nodes take it from a request
	Hash   string               `json:"hash"` // hexadecimal
}

// reportKey looks a key up as nodes do with one that a client asks for.
func reportKey(view state.View, name topology.ServiceName, word string, now time.Time) (keyReport, error) {
	services, err := inspecting(view, name)
	if err != nil {
		return keyReport{}, err
	}
	if len(services) > 1 {
		return keyReport{}, usageErrorf("of which service? Write --service %s", orList(services))
	}
	service := services[0]
	hash, text, err := keyOf(service.Locality.Key, word)
	if err != nil {
		return keyReport{}, err
	}
	return keyReport{
		bucketReport: newBucketBook(view, service, now).report(int(hash % topology.BucketCount)),
		Policy:       service.Policy, By: service.Locality.Key, Key: text, Hash: fmt.Sprintf("%016x", hash),
	}, nil
}

func orList(services []state.Service) string {
	names := make([]string, len(services))
	for i, service := range services {
		names[i] = string(service.Name)
	}
	return strings.Join(names, " or ")
}

func (r keyReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Service", fmt.Sprintf("%s, %s by %s", r.Service, r.Policy, r.By))
	t.row("Key", printable(r.Key, 0))
	t.row("Bucket", fmt.Sprintf("%d of %d, hash %s", r.Bucket, topology.BucketCount, r.Hash))
	t.row("Home", cmp.Or(string(r.Home), "none: no node is up"))
	t.row("Nodes", r.nodes())
	for _, node := range slices.Sorted(maps.Keys(r.NotPicked)) {
		t.row("", fmt.Sprintf("%s is not picked: %s", node, r.NotPicked[node]))
	}
	changed := "at home"
	if !r.atHome() {
		changed = fmt.Sprintf("%s ago, by %s", r.Age, r.Writer)
	}
	t.row("Changed", changed)
	t.row("Requests", fmt.Sprintf("%d of the bucket, %s of the service's", r.Requests, percent(r.Share)))
	return t.flush()
}

// printable is a text that clients chose, without what would move a terminal's
// cursor, and not longer than most runes (0: any length).
func printable(s string, most int) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strconv.QuoteToASCII(s)
	}
	if runes := []rune(s); most > 0 && len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
