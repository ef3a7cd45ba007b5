// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// eventsCommand shows what the leader noted in etcd's ring of events.
func eventsCommand(e *env) *cobra.Command {
	var choice eventChoice
	var follow bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List what happened: role changes, failures, fences, returns; -f goes on",
		Long: "List what happened in the cluster, the oldest first: role changes, failures, fences, returns.\n" +
			"etcd keeps the newest 256. With -f the list goes on until it is interrupted; -o json then gives a line for each event.",
	}
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on")
	flags.StringVar(&choice.node, "node", "", "only events of this node")
	flags.StringVar(&choice.kind, "kind", "", "only events of this kind, as the list shows it")
	flags.DurationVar(&choice.last, "since", 0, "only events of the last so long: 10m")
	v := newViewer(e, cmd)
	run := v.inCluster(func(ctx context.Context, cluster topology.Cluster) error {
		if follow {
			return v.follow(ctx, cluster, &choice)
		}
		return v.show(ctx, cluster, func(ctx context.Context, store state.Store, _ topology.Cluster) (report, error) {
			view, err := store.View(ctx)
			return eventsReport{choice.choose(view.Events, e.now())}, err
		})
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if follow && cmd.Context().Err() != nil {
			return nil // who follows ends by interrupting, in a lab too
		}
		return err
	}
	return cmd
}

// eventChoice says which events are shown. Its zero value chooses all.
type eventChoice struct {
	node, kind string
	last       time.Duration // 0: any age
}

func (c eventChoice) choose(events []state.Event, now time.Time) []eventReport {
	chosen := []eventReport{}
	for _, event := range events {
		if c.match(event, now) {
			chosen = append(chosen, eventReport{event.Seq, event.Time, event.Kind, event.Node, event.Text})
		}
	}
	return chosen
}

func (c eventChoice) match(event state.Event, now time.Time) bool {
	return (c.node == "" || string(event.Node) == c.node) &&
		(c.kind == "" || event.Kind == c.kind) &&
		(c.last == 0 || now.Sub(event.Time) <= c.last)
}

// follow shows events as they come, until ctx ends.
func (v *viewer) follow(ctx context.Context, cluster topology.Cluster, choice *eventChoice) error {
	store, err := dialStore(ctx, v.env, cluster)
	if err != nil {
		return err
	}
	var shown uint64 // the newest event that was looked at
	for update := range store.Watch(ctx) {
		if update.Err != nil {
			v.env.log.Warn("etcd is out of reach: events come when it is back", "err", update.Err)
			continue
		}
		if n := len(update.View.Events); n > 0 && update.View.Events[n-1].Seq < shown {
			shown = 0 // etcd lost its data, and counts anew
		}
		events := slices.DeleteFunc(slices.Clone(update.View.Events), func(event state.Event) bool { return event.Seq <= shown })
		if len(events) == 0 {
			continue
		}
		shown = events[len(events)-1].Seq
		for _, event := range choice.choose(events, v.env.now()) {
			if err := v.out.writeLine(v.env.stdout, event); err != nil {
				return errors.Join(err, store.Close())
			}
		}
	}
	return store.Close()
}
