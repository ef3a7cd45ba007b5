// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"fmt"
)

// Applied tells what an Apply did.
type Applied struct {
	// Changes that were sent, by operation. Empty: all was as wanted.
	Changes map[Op]int
	// Kept flows and groups were there already.
	Kept int
	// Conflicts are wanted flows whose place an operator's flow holds. They were
	// not installed.
	Conflicts []Flow
}

// Apply reads what is installed and applies the difference as one atomic,
// ordered bundle: all of it or, with an error, nothing. If there is no
// difference nothing is sent. An empty Pipeline removes all that is ours.
func (s *Session) Apply(ctx context.Context, wanted Pipeline) (Applied, error) {
	s.applied.Lock()
	defer s.applied.Unlock()
	round, err := s.claimed()
	if err != nil {
		return Applied{}, err
	}
	installed, err := s.Installed(ctx)
	if err != nil {
		return Applied{}, fmt.Errorf("apply: %w", err)
	}
	changes := Diff(installed, wanted.withRound(round))
	done := summarise(installed, wanted, changes)
	if len(changes) == 0 {
		return done, nil
	}
	if err := s.bundle(ctx, changes); err != nil {
		return Applied{}, fmt.Errorf("apply %d changes: %w", len(changes), err)
	}
	return done, s.Barrier(ctx)
}

func summarise(installed, wanted Pipeline, changes []Change) Applied {
	done := Applied{Changes: make(map[Op]int), Conflicts: Conflicts(installed, wanted)}
	for _, c := range changes {
		done.Changes[c.Op]++
	}
	written := done.Changes[AddFlow] + done.Changes[ReplaceFlow] + done.Changes[AddGroup] + done.Changes[ReplaceGroup]
	done.Kept = len(wanted.Flows) + len(wanted.Groups) - written - len(done.Conflicts)
	return done
}
