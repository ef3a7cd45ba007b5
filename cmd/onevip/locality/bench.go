// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/onevip/onevip/cmd/onevip/labload"
	"github.com/onevip/onevip/labs"
	"github.com/onevip/onevip/labs/origin"
	"github.com/onevip/onevip/labs/workload"
	"github.com/onevip/onevip/topology"
)

// Bench is a run of many rounds in one lab: the same servers stand behind a
// service of each policy.
type Bench struct {
	Lab      string            // to bring up
	Binary   string            // of onevip, for the lab's hosts and for the load
	Set      map[string]string // settings of the cluster, by path
	Storage  Storage
	Policies []topology.Policy
	Rounds   int  // of each policy, in turns
	Load     Load // VIP is the service's
	Pairs    int  // for the comparison of layer 7 with layer 4; 0: none
}

// Services are the lab's services whose policies are compared.
var Services = map[topology.Policy]topology.ServiceName{
	topology.Locality: "web", topology.BoundedHash: "bounded", topology.LeastConnection: "plain",
}

// Estimate is about how long Run takes.
func (b Bench) Estimate() time.Duration {
	const (
		up      = 10 * time.Second // for the lab
		servers = 4
		largest = 37_748_736 // bytes of a file, before scaling
	)
	round := b.Load.Warm + b.Load.For + seconds(largest*b.Load.Files.Scale/b.Load.Line)
	if set, err := workload.New(b.Load.Files); err == nil && b.Load.Primed {
		round += seconds(float64(set.Bytes()) / float64(servers*b.Storage.Disk))
	}
	return up + time.Duration(b.Rounds*len(b.Policies))*round
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Result is what a run measured.
type Result struct {
	Rounds []Round
	Pairs  []Pair
}

// Run brings the lab up, makes the pairs and the rounds, and takes the lab down,
// whatever happens.
func (b Bench) Run(ctx context.Context) (result Result, err error) {
	lab, err := labs.Up(ctx, labs.Options{Lab: b.Lab, Instance: "bench-locality", Binary: b.Binary, Set: b.Set, Env: b.Storage.env(b.Load.Files)})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, labs.Down(context.WithoutCancel(ctx), lab.Name)) }()
	r := &runner{Bench: b, Cluster: labload.Cluster{Running: lab}}
	if err := r.services(ctx); err != nil {
		return result, err
	}
	if b.Pairs > 0 {
		if result.Pairs, err = r.pairs(ctx); err != nil {
			return result, fmt.Errorf("layer 7 against layer 4: %w", err)
		}
	}
	for number := 1; number <= b.Rounds; number++ {
		for i := range b.Policies {
			policy := b.Policies[(i+number-1)%len(b.Policies)]
			round, err := r.round(ctx, policy, number)
			if err != nil {
				return result, fmt.Errorf("round %d, %s: %w", number, policy, err)
			}
			result.Rounds = append(result.Rounds, round)
		}
	}
	return result, nil
}

// runner makes rounds in one lab.
type runner struct {
	Bench
	labload.Cluster
	vips map[topology.Policy]netip.AddrPort
}

// services finds the IPv4 address and port of each policy's service.
func (r *runner) services(ctx context.Context) error {
	var out bytes.Buffer
	if _, err := r.Onevip(ctx, &out, "services", "-o", "json"); err != nil {
		return err
	}
	var view struct {
		Services []struct {
			Name topology.ServiceName `json:"name"`
			VIPs []netip.Addr         `json:"vips"`
			Port uint16               `json:"port"`
		} `json:"services"`
	}
	if err := json.Unmarshal(out.Bytes(), &view); err != nil {
		return fmt.Errorf("onevip services: %w", err)
	}
	r.vips = map[topology.Policy]netip.AddrPort{}
	for policy, name := range Services {
		for _, s := range view.Services {
			at := slices.IndexFunc(s.VIPs, netip.Addr.Is4)
			if s.Name == name && at >= 0 {
				r.vips[policy] = netip.AddrPortFrom(s.VIPs[at], s.Port)
			}
		}
		if !r.vips[policy].IsValid() {
			return fmt.Errorf("lab %s has no service %s with an IPv4 address", r.Name, name)
		}
	}
	return nil
}

// round makes one run of the load, from empty caches on.
func (r *runner) round(ctx context.Context, policy topology.Policy, number int) (Round, error) {
	round := Round{Policy: policy, Number: number}
	if err := r.flush(ctx); err != nil {
		return round, err
	}
	lost := r.SwitchLost(ctx)
	inspected, err := r.inspected(ctx, Services[policy])
	if err != nil {
		return round, err
	}
	load := r.Load
	load.VIP = r.vips[policy]
	before, err := r.loadWith(ctx, load, &round.Trace)
	if err != nil {
		return round, err
	}
	round.SwitchLost = max(0, r.SwitchLost(ctx)-lost)
	if round.Nodes, err = r.since(ctx, before); err != nil {
		return round, err
	}
	now, err := r.inspected(ctx, Services[policy])
	round.Inspected = now.since(inspected)
	return round, err
}

// loadWith runs the clients, and gives what the servers had done when the
// downloads began to count.
func (r *runner) loadWith(ctx context.Context, load Load, trace *Trace) (before map[string]origin.Stats, err error) {
	counting := labload.NewSaid(CountingLine)
	done := make(chan error, 1)
	go func() { done <- r.clients(ctx, Job{Load: &load}, counting, trace) }()
	select {
	case err := <-done:
		return nil, cmp.Or(err, errors.New("the load ended before a download counted"))
	case <-counting.Seen:
	}
	before, err = r.stats(ctx)
	return before, errors.Join(err, <-done)
}

// pairs compares the service that looks at requests with the one that does not.
func (r *runner) pairs(ctx context.Context) (pairs []Pair, err error) {
	job := Job{Pairs: &Pairs{
		Layer7: r.vips[topology.Locality], Layer4: r.vips[topology.LeastConnection],
		From: r.Load.From, Froms: r.Load.Froms, Count: r.Pairs, Path: "/whoami",
	}}
	return pairs, r.clients(ctx, job, labload.NewSaid(""), &pairs)
}
