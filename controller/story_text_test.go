// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"strings"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/state"
)

func (s *story) text(d Decision) string {
	var out strings.Builder
	for _, change := range d.Changes {
		if _, told := change.Record.(state.Event); !told {
			fmt.Fprintln(&out, changeText(change))
		}
	}
	for _, e := range d.Events {
		fmt.Fprintf(&out, "event: %s", e.Kind)
		for _, attr := range e.attrs() {
			fmt.Fprintf(&out, " %s", attr)
		}
		fmt.Fprintln(&out)
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(&out, "warning: %s %s: %s\n", w.Reason, w.Node, w.Text)
	}
	if !d.Next.IsZero() {
		fmt.Fprintf(&out, "next in %v\n", d.Next.Sub(s.now))
	}
	return out.String()
}

// changeText is a change on one line.
func changeText(change state.Change) string {
	verb := "put"
	if change.Delete {
		verb = "delete"
	}
	switch r := change.Record.(type) {
	case state.Cluster:
		return fmt.Sprintf("%s cluster schedulers=%s created=%s", verb, r.Schedulers, r.Created.Format(time.TimeOnly))
	case state.Service:
		return fmt.Sprintf("%s services/%s id=%d port=%d", verb, r.Name, r.ID, r.Port) + rulesText(r.Locality)
	case state.Locality:
		return fmt.Sprintf("%s locality/%s/%d", verb, r.Service, r.Bucket)
	case state.Node:
		return fmt.Sprintf("%s nodes/%s id=%d %s since=%s weight=%d mac=%s boot=%s", verb, r.Name, r.ID, r.State, r.Since.Format(time.TimeOnly), r.Weight, r.MAC, r.Incarnation)
	case state.Failure:
		return verb + " failures/" + failureText(r)
	case state.IDs:
		return verb + " ids" + restText(r)
	case state.Slots:
		return fmt.Sprintf("%s slots epoch=%d nodes=%v schedulers=%s primaries=%v", verb, r.Epoch, r.Nodes, r.Schedulers, distinct(r.Primary))
	case state.CookieKeys:
		return fmt.Sprintf("%s keys/cookie epoch=%d previous=%x current=%x next=%x", verb, r.Epoch, []byte(r.Previous[:2]), []byte(r.Current[:2]), []byte(r.Next[:2]))
	case state.HeartbeatKey:
		return verb + " keys/heartbeat"
	case state.Load:
		return fmt.Sprintf("%s scheduler/%s%s", verb, r.Service, loadText(r))
	}
	return fmt.Sprintf("%s a %T", verb, change.Record)
}

func rulesText(r *state.LocalityRules) string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf(" key=%s low=%d high=%d decay=%v bound=%v silent=%v %s",
		r.Key, r.Low, r.High, time.Duration(r.Decay), r.Bound, time.Duration(r.Silent.After), r.Silent.Then)
}

func restText(r state.IDs) string {
	text := ""
	for _, name := range sortedKeys(r.Nodes) {
		text += fmt.Sprintf(" node %s=%d", name, r.Nodes[name].ID)
	}
	for _, name := range sortedKeys(r.Services) {
		text += fmt.Sprintf(" service %s=%d", name, r.Services[name].ID)
	}
	for _, id := range sortedKeys(r.Failed) {
		text += fmt.Sprintf(" failed %s=%d", r.Failed[id].Node, id)
	}
	if r.FailureEpoch > 0 {
		text += fmt.Sprintf(" failures=%d", r.FailureEpoch)
	}
	return text
}

func loadText(r state.Load) string {
	text := ""
	for _, name := range sortedKeys(r.Nodes) {
		load := r.Nodes[name]
		if load.Pickable {
			text += fmt.Sprintf(" %s=%d/%d", name, load.Active, load.Adopted)
			continue
		}
		text += fmt.Sprintf(" %s=(%s)", name, load.Reason)
	}
	return text
}

func (s *story) switches() string {
	intent, ready := intentFor(s.config, viewOf(s.t, s.store), nil, "s1")
	if !ready {
		return "not yet\n"
	}
	text := fmt.Sprintf("vips %v mac %s\n", intent.VIPs, intent.ClusterMAC)
	for _, m := range intent.Members {
		text += memberText(m)
	}
	for _, m := range intent.Fenced {
		text += "fenced " + memberText(m)
	}
	return text
}

func memberText(m ovs.Member) string {
	return fmt.Sprintf("member %d %s port=%s mac=%s\n", m.ID, m.Name, m.Port, m.MAC)
}

func failureText(r state.Failure) string {
	text := fmt.Sprintf("%d node=%s id=%d boot=%s %s by=%v since=%s slots epoch=%d nodes=%v schedulers=%s",
		r.Epoch, r.Node, r.ID, r.Incarnation, r.Reason, r.Reporters, r.Since.Format(time.TimeOnly), r.SlotEpoch, r.SlotNodes, r.SlotSchedulers)
	if r.Fenced != nil {
		text += " fenced=" + r.Fenced.Format(time.TimeOnly)
	}
	if r.Left != nil {
		text += " left=" + r.Left.Format(time.TimeOnly)
	}
	return text
}

// events shows the ring.
func (s *story) events() string {
	var out strings.Builder
	for _, e := range viewOf(s.t, s.store).Events {
		fmt.Fprintf(&out, "%d %s %s: %s\n", e.Seq, e.Time.Format(time.TimeOnly), e.Kind, e.Text)
	}
	return out.String()
}
