// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A server is taken for dead one silence after its last byte, also where the
// deadline in force was set before that byte, and is renewed only now and then.
func TestSilenceEndsOnTime(t *testing.T) {
	const silence = 8 * time.Second
	for _, pause := range []time.Duration{0, time.Millisecond, silence / 10, silence / 8, silence / 2, silence - time.Millisecond} {
		t.Run(pause.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer server.Close()
				defer client.Close()
				l := newLink(client, silence)
				go func() {
					for range 3 {
						time.Sleep(pause)
						server.Write([]byte("x")) //nolint:errcheck // the reader tells
					}
				}()
				for range 3 {
					if _, err := (*linkReader)(l).Read(make([]byte, 1)); err != nil {
						t.Fatal(err)
					}
				}
				last := time.Now()
				_, err := (*linkReader)(l).Read(make([]byte, 1))
				if took := time.Since(last); !errors.Is(err, ErrSilent) || took != silence {
					t.Errorf("%v after %v, want %v after %v", err, took, ErrSilent, silence)
				}
			})
		})
	}
}
