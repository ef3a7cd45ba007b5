// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/onevip/onevip/state"
)

// keys makes the keys that are not there, and rotates those of cookies.
func (d *decider) keys() {
	if d.View.Heartbeat == nil {
		key := state.HeartbeatKey{Schema: state.Schema, Key: slices.Clone(d.Fresh.Heartbeat[:])}
		d.put(key, Event{Kind: HeartbeatKeyMade})
	}
	if d.View.Cookie == nil {
		d.makeCookieKeys()
		return
	}
	have := *d.View.Cookie
	due := have.Rotated.Add(d.Config.Cookie.Rotate)
	// A time in the future is that of a leader whose clock was ahead.
	if d.Now.Before(due) && !have.Rotated.After(d.Now.Add(d.Config.Cookie.Rotate)) {
		d.wake(due)
		return
	}
	d.put(state.CookieKeys{
		Schema:   state.Schema,
		Epoch:    have.Epoch + 1,
		Previous: have.Current,
		Current:  have.Next,
		Next:     slices.Clone(d.Fresh.Cookie[0][:]),
		Rotated:  d.Now,
	}, Event{Kind: CookieKeysRotated, Epoch: uint64(have.Epoch) + 1})
}

// makeCookieKeys begins with epoch 1; nobody holds a cookie of the one before.
func (d *decider) makeCookieKeys() {
	d.put(state.CookieKeys{
		Schema:   state.Schema,
		Epoch:    1,
		Previous: slices.Clone(d.Fresh.Cookie[0][:]),
		Current:  slices.Clone(d.Fresh.Cookie[1][:]),
		Next:     slices.Clone(d.Fresh.Cookie[2][:]),
		Rotated:  d.Now,
	}, Event{Kind: CookieKeysMade, Epoch: 1})
}
