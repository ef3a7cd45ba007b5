// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"math/rand/v2"
	"time"

	"github.com/onevip/onevip/labs/workload"
)

// due is a download and when it is to begin.
type due struct {
	at   time.Duration // since the load began
	file workload.File
}

// schedule gives the downloads of a span: Poisson arrivals, files by their
// popularity. It depends on the seed alone, so that each policy is asked the same.
func schedule(seed uint64, rate float64, span time.Duration, files *workload.Set) []due {
	random := rand.New(rand.NewPCG(seed, 0))
	var all []due
	for at := time.Duration(0); ; {
		at += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
		if at >= span {
			return all
		}
		all = append(all, due{at, files.Pick(random)})
	}
}
