// SPDX-License-Identifier: Apache-2.0

package labload

import (
	"math"
	"time"
)

// Quantile of sorted values, by the nearest rank; 0 if there are none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(1, rank)-1]
}

// Milliseconds has three digits behind the point.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
