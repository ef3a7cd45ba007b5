// SPDX-License-Identifier: Apache-2.0

package state

import "context"

// offer puts v into a channel of capacity one, in the place of a value that
// nobody has taken yet. Only one goroutine may send on ch.
func offer[T any](ch chan T, v T) {
	select {
	case <-ch:
	default:
	}
	ch <- v
}

// newest relays in, the newest value only, so that its sender never waits. The
// result is closed when in is closed or ctx ends.
func newest[T any](ctx context.Context, in <-chan T) <-chan T {
	out := make(chan T, 1)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case v, ok := <-in:
				if !ok {
					return
				}
				offer(out, v)
			}
		}
	}()
	return out
}
