// SPDX-License-Identifier: Apache-2.0

package checkpoint

import "time"

// EventKind is what an Event tells.
type EventKind uint8

// The kinds of events.
const (
	EventConnected EventKind = iota + 1 // the first server accepted the stream
	EventLost                           // the connection broke, or the server fell silent: Err says
	EventRetry                          // an attempt to resume failed: Err says; Wait is the pause
	EventResumed                        // a server accepted the stream again, Outage after the loss
	EventFailed                         // the stream is over: Err says
)

// String returns the kind's word for logs.
func (k EventKind) String() string {
	return [...]string{"", "connected", "lost", "retry", "resumed", "failed"}[k]
}

// Event is a change in a stream's life.
type Event struct {
	Kind     EventKind
	Time     time.Time
	Err      error
	Attempt  int           // Retry, Resumed: attempts in this outage
	Wait     time.Duration // Retry
	Outage   time.Duration // Resumed: since the loss was noticed
	Position Position      // output received, input written
	Remote   string        // Connected, Resumed: the server's address
}

// Stats are a stream's counters.
type Stats struct {
	Position                      // output received, input written
	Checkpoints     int           // received
	CheckpointBytes int64         // of them
	CheckpointSize  int           // of the newest
	Covered         Position      // by the newest
	Resumes         int           // accepted again after a loss
	Repeated        uint64        // bytes of output received again and discarded
	Replayed        uint64        // bytes of input sent again
	LongestOutage   time.Duration // from loss to acceptance
}
