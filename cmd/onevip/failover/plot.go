// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

var modeColors = map[Mode]color.Color{On: color.RGBA{B: 200, A: 255}, Off: color.RGBA{R: 200, A: 255}}

// Plot draws, fault by fault, which share of the connections was established by
// a time: with speculation, without, and with no fault.
func Plot(rounds []Round, faults []Fault, path string) error {
	canvas := vgimg.New(24*vg.Centimeter, vg.Length(len(faults))*10*vg.Centimeter)
	tiles := draw.Tiles{Rows: len(faults), Cols: 1, PadY: vg.Centimeter, PadTop: vg.Centimeter / 2, PadBottom: vg.Centimeter / 2, PadLeft: vg.Centimeter / 2, PadRight: vg.Centimeter / 2}
	plots := make([][]*plot.Plot, len(faults))
	for i, fault := range faults {
		p, err := plotFault(rounds, fault)
		if err != nil {
			return fmt.Errorf("plot: %w", err)
		}
		plots[i] = []*plot.Plot{p}
	}
	for i, row := range plot.Align(plots, tiles, draw.New(canvas)) {
		plots[i][0].Draw(row[0])
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

func plotFault(rounds []Round, fault Fault) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s: connections established, of those begun within %v", fault, affected)
	p.X.Label.Text = "ms after the first SYN"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Label.Text = "share"
	p.Y.Min, p.Y.Max = 0, 1
	p.Add(plotter.NewGrid())
	for _, mode := range []Mode{On, Off} {
		for _, kind := range []Fault{fault, ""} {
			line, err := share(Latencies(rounds, kind, mode))
			if err != nil {
				return nil, err
			}
			if line == nil {
				continue
			}
			line.Color = modeColors[mode]
			name := fmt.Sprintf("speculation %s", mode)
			if kind == "" {
				line.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
				name += ", no fault"
			}
			p.Add(line)
			p.Legend.Add(name, line)
		}
	}
	return p, nil
}

// share is the cumulative distribution of sorted values; nil if there are none.
func share(sorted []float64) (*plotter.Line, error) {
	if len(sorted) == 0 {
		return nil, nil
	}
	points := make(plotter.XYs, len(sorted))
	for i, ms := range sorted {
		points[i] = plotter.XY{X: max(ms, 0.01), Y: float64(i+1) / float64(len(sorted))}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	line.StepStyle = plotter.PostStep
	return line, nil
}
