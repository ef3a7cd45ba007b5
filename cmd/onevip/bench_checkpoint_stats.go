// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// ratio is a ratio with its 95% interval.
type ratio struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low95"`
	High float64 `json:"high95"`
}

// ratioOf is the geometric mean of the pairs' ratios. The interval is a
// bootstrap's: the pairs are drawn again, with a fixed seed.
func ratioOf(pairs []float64) ratio {
	if len(pairs) == 0 {
		return ratio{}
	}
	const draws = 10_000
	random := rand.New(rand.NewPCG(1, 2))
	means := make([]float64, draws)
	for i := range means {
		sum := 0.0
		for range pairs {
			sum += math.Log(pairs[random.IntN(len(pairs))])
		}
		means[i] = math.Exp(sum / float64(len(pairs)))
	}
	slices.Sort(means)
	sum := 0.0
	for _, p := range pairs {
		sum += math.Log(p)
	}
	return ratio{
		Mean: math.Exp(sum / float64(len(pairs))),
		Low:  means[draws*25/1000],
		High: means[draws*975/1000],
	}
}
