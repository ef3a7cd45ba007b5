// SPDX-License-Identifier: Apache-2.0

package locality

import "time"

// Trace is what the clients saw.
type Trace struct {
	Warmed    int        `json:"warmed"` // downloads before those that count
	Downloads []Download `json:"downloads"`
}

// Download is one that counts. Times are in ns.
type Download struct {
	At    time.Duration `json:"at"` // since the load began
	Path  string        `json:"path"`
	Class int           `json:"class"`
	Bytes int64         `json:"bytes"`
	First time.Duration `json:"first"` // from the connect's begin to the first byte
	Took  time.Duration `json:"took"`  // to the last one
	Node  string        `json:"node,omitempty"`
	Hit   bool          `json:"hit,omitempty"`
	Err   string        `json:"err,omitempty"`
}

// Tolerable is the share of the line's rate below which a download is slow; SPECweb2005's
// Support workload calls 95 kB/s tolerable on a line of 100 kB/s.
const Tolerable = 0.95

// Allowance is what connecting, and a machine that has other things to do, may
// take without making a download slow. The files are small ones here: 5% of the
// smallest would be 3 ms.
const Allowance = 10 * time.Millisecond

// Slow tells whether a download was slower than tolerable on a line of so many
// bytes per second. One that failed is slow.
func (d Download) Slow(line float64) bool {
	tolerated := time.Duration(float64(d.Bytes) / (Tolerable * line) * float64(time.Second))
	return d.Err != "" || d.Took > tolerated+Allowance
}

// Rate is in bytes per second; 0 of a download that failed.
func (d Download) Rate() float64 {
	if d.Err != "" || d.Took <= 0 {
		return 0
	}
	return float64(d.Bytes) / d.Took.Seconds()
}
