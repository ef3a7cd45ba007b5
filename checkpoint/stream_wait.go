// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"os"
	"time"
)

// await waits until sem has a place, which it takes, or the stream changed. It
// returns which of them, or an error when the deadline is over. A nil sem only
// waits for a change.
func await(sem chan struct{}, changed <-chan struct{}, deadline time.Time) (taken bool, err error) {
	select {
	case sem <- struct{}{}:
		return true, nil
	case <-changed:
		return false, nil
	default:
	}
	var late <-chan time.Time
	if !deadline.IsZero() {
		left := time.Until(deadline)
		if left <= 0 {
			return false, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case sem <- struct{}{}:
		return true, nil
	case <-changed:
		return false, nil
	case <-late:
		return false, os.ErrDeadlineExceeded
	}
}
