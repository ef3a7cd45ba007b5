// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/onevip/onevip/cmd/onevip/labload"
)

// Pairs asks two services of the same servers for the same file in turns, one
// request at a time: what the way through layer 7 adds to that through layer 4.
type Pairs struct {
	Layer7, Layer4 netip.AddrPort
	From           netip.Addr // first client address
	Froms          int        // so many of them, counted up
	Count          int
	Path           string // of a small file
}

// Pair is the times to the first byte, in ns, from where the connect began.
type Pair struct {
	Layer7 time.Duration `json:"layer7"`
	Layer4 time.Duration `json:"layer4"`
}

// warmPairs come first and do not count: every server has the file then, and every
// program its pages.
const warmPairs = 32

// Run makes the pairs. In every other one the order is reversed.
func (p Pairs) Run(ctx context.Context) ([]Pair, error) {
	pairs := make([]Pair, warmPairs+p.Count)
	for i := range pairs {
		for _, layer7 := range []bool{i%2 == 0, i%2 != 0} {
			vip, took := p.Layer4, &pairs[i].Layer4
			if layer7 {
				vip, took = p.Layer7, &pairs[i].Layer7
			}
			var err error
			if *took, err = p.once(ctx, i, vip); err != nil {
				return nil, fmt.Errorf("pair %d of %d, %s: %w", i+1, len(pairs), vip, err)
			}
		}
	}
	return pairs[warmPairs:], nil
}

func (p Pairs) once(ctx context.Context, i int, vip netip.AddrPort) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	answer, err := get(ctx, Load{From: p.From, Froms: p.Froms}.from(i), vip, p.Path)
	took := time.Since(begun)
	if err == nil {
		answer.close()
	}
	return took, err
}

// Compared is layer 7 against layer 4.
type Compared struct {
	Pairs     int     `json:"pairs"`
	Layer7P50 float64 `json:"layer7_p50_ms"`
	Layer7P99 float64 `json:"layer7_p99_ms"`
	Layer4P50 float64 `json:"layer4_p50_ms"`
	Layer4P99 float64 `json:"layer4_p99_ms"`
	// Ratio is of the medians; its 95% interval is a bootstrap's over the pairs.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low95"`
	High  float64 `json:"high95"`
}

// Compare sums pairs up. The seed of the bootstrap is fixed.
func Compare(pairs []Pair) Compared {
	layer7, layer4 := sides(pairs)
	c := Compared{
		Pairs:     len(pairs),
		Layer7P50: labload.Quantile(layer7, 0.5), Layer7P99: labload.Quantile(layer7, 0.99),
		Layer4P50: labload.Quantile(layer4, 0.5), Layer4P99: labload.Quantile(layer4, 0.99),
	}
	if len(pairs) == 0 {
		return c
	}
	c.Ratio = c.Layer7P50 / c.Layer4P50
	const draws = 2000
	random := rand.New(rand.NewPCG(1, 2))
	ratios, drawn := make([]float64, draws), make([]Pair, len(pairs))
	for i := range ratios {
		for j := range drawn {
			drawn[j] = pairs[random.IntN(len(pairs))]
		}
		layer7, layer4 := sides(drawn)
		ratios[i] = labload.Quantile(layer7, 0.5) / labload.Quantile(layer4, 0.5)
	}
	slices.Sort(ratios)
	c.Low, c.High = labload.Quantile(ratios, 0.025), labload.Quantile(ratios, 0.975)
	return c
}

// sides are the milliseconds of each side, sorted.
func sides(pairs []Pair) (layer7, layer4 []float64) {
	for _, p := range pairs {
		layer7, layer4 = append(layer7, labload.Milliseconds(p.Layer7)), append(layer4, labload.Milliseconds(p.Layer4))
	}
	slices.Sort(layer7)
	slices.Sort(layer4)
	return layer7, layer4
}
