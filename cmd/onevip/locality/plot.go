// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"fmt"
	"image/color"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/onevip/onevip/topology"
)

// policyColors are those of the policies in their order; they come again if
// there are more.
var policyColors = []color.Color{
	color.RGBA{B: 200, A: 255}, color.RGBA{R: 200, A: 255}, color.RGBA{G: 140, A: 255}, color.RGBA{R: 160, G: 110, A: 255},
}

// Plot draws, policy by policy, the hit ratio, the share of slow downloads, and
// which share of the downloads had which rate, of lines of so many bytes per second.
func Plot(rounds []Round, policies []topology.Policy, line float64, path string) error {
	plots, err := plotAll(rounds, policies, line)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	canvas := vgimg.New(36*vg.Centimeter, 11*vg.Centimeter)
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: vg.Centimeter, PadTop: vg.Centimeter / 2, PadBottom: vg.Centimeter / 2, PadLeft: vg.Centimeter / 2, PadRight: vg.Centimeter / 2}
	for i, c := range plot.Align([][]*plot.Plot{plots}, tiles, draw.New(canvas))[0] {
		plots[i].Draw(c)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	defer f.Close()
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(f); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return f.Close()
}

func plotAll(rounds []Round, policies []topology.Policy, line float64) ([]*plot.Plot, error) {
	summary := Summarise(rounds, line)
	hits, err := bars("Downloads from the cache", policies, func(p topology.Policy) float64 { return 100 * summary[p].HitRatio })
	if err != nil {
		return nil, err
	}
	slow, err := bars(fmt.Sprintf("Downloads below %g%% of the line's rate", 100*Tolerable), policies,
		func(p topology.Policy) float64 { return 100 * ratio(summary[p].Slow, summary[p].Downloads) })
	if err != nil {
		return nil, err
	}
	rates, err := plotRates(rounds, policies, line)
	return []*plot.Plot{hits, slow, rates}, err
}

// bars has a bar in percent for each policy.
func bars(title string, policies []topology.Policy, percent func(topology.Policy) float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	p.Y.Label.Text = "%"
	p.Y.Min = 0
	var names []string
	for i, policy := range policies {
		names = append(names, string(policy))
		bar, err := plotter.NewBarChart(plotter.Values{percent(policy)}, 1.5*vg.Centimeter)
		if err != nil {
			return nil, err
		}
		bar.XMin, bar.Color, bar.LineStyle.Width = float64(i), policyColors[i%len(policyColors)], 0
		p.Add(bar)
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.7, float64(len(policies))-0.3
	return p, nil
}

// plotRates shows which share of the downloads was slower than which part of its line.
func plotRates(rounds []Round, policies []topology.Policy, line float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "Rates of the downloads"
	p.X.Label.Text = "% of the line's rate"
	p.Y.Label.Text = "share of downloads that were slower"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 100, 0, 1
	p.Add(plotter.NewGrid())
	for i, policy := range policies {
		steps, err := slowerThan(rounds, policy, line)
		if err != nil {
			return nil, err
		}
		if steps == nil {
			continue
		}
		steps.Color = policyColors[i%len(policyColors)]
		p.Add(steps)
		p.Legend.Add(string(policy), steps)
	}
	p.Legend.Top, p.Legend.Left, p.Legend.YOffs = true, true, -vg.Centimeter
	return p, nil
}

// slowerThan is the cumulative distribution of rates; nil if there are none.
func slowerThan(rounds []Round, policy topology.Policy, line float64) (*plotter.Line, error) {
	var rates []float64
	for _, r := range rounds {
		if r.Policy != policy {
			continue
		}
		for _, d := range r.Trace.Downloads {
			rates = append(rates, 100*d.Rate()/line)
		}
	}
	if len(rates) == 0 {
		return nil, nil
	}
	slices.Sort(rates)
	points := make(plotter.XYs, len(rates))
	for i, rate := range rates {
		points[i] = plotter.XY{X: rate, Y: float64(i+1) / float64(len(rates))}
	}
	steps, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	steps.StepStyle = plotter.PostStep
	return steps, nil
}
