// SPDX-License-Identifier: Apache-2.0

package main

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
)

// plotCheckpoint draws what was measured: the pairs' ratios, and the
// distribution of the times to resume.
func plotCheckpoint(r *checkpointReport, path string) error {
	ratios, err := plotRatios(r.Throughput)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	resumes, err := plotResumes(r.Resume)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	canvas := vgimg.New(24*vg.Centimeter, 10*vg.Centimeter)
	tiles := draw.Tiles{Rows: 1, Cols: 2, PadX: vg.Centimeter, PadTop: vg.Centimeter / 2, PadBottom: vg.Centimeter / 2, PadLeft: vg.Centimeter / 2, PadRight: vg.Centimeter / 2}
	plots := [][]*plot.Plot{{ratios, resumes}}
	for i, c := range plot.Align(plots, tiles, draw.New(canvas))[0] {
		plots[0][i].Draw(c)
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

// plotRatios shows throughput and CPU of each pair against plain.
func plotRatios(t *throughputReport) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "Checkpointed against plain, pair by pair"
	p.X.Label.Text = "pair"
	p.Y.Label.Text = "ratio"
	p.Add(plotter.NewGrid())
	if t == nil {
		return p, nil
	}
	one := plotter.NewFunction(func(float64) float64 { return 1 })
	one.Dashes = []vg.Length{vg.Points(4), vg.Points(4)}
	p.Add(one)
	series := []struct {
		name  string
		value func(downloadRun) float64
		color color.Color
	}{
		{"throughput", func(d downloadRun) float64 { return d.BytesPerSecond }, color.RGBA{B: 200, A: 255}},
		{"CPU per byte", downloadRun.cpu, color.RGBA{R: 200, A: 255}},
	}
	for _, s := range series {
		points := make(plotter.XYs, len(t.Plain))
		for i := range t.Plain {
			points[i] = plotter.XY{X: float64(i + 1), Y: s.value(t.Checkpointed[i]) / s.value(t.Plain[i])}
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, dots.Color = s.color, s.color
		p.Add(line, dots)
		p.Legend.Add(s.name, line)
	}
	p.Y.Min, p.Y.Max = min(p.Y.Min, 0.9), max(p.Y.Max, 1.1)
	p.Legend.Top = true
	return p, nil
}

// plotResumes shows the share of outages that were over by a time.
func plotResumes(r *resumeReport) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "From kill -9 to the next byte"
	p.X.Label.Text = "ms"
	p.Y.Label.Text = "share of outages over"
	p.Add(plotter.NewGrid())
	p.Y.Min, p.Y.Max = 0, 1
	if r == nil {
		return p, nil
	}
	sorted := slices.Sorted(slices.Values(r.Samples))
	points := make(plotter.XYs, len(sorted))
	for i, ms := range sorted {
		points[i] = plotter.XY{X: ms, Y: float64(i+1) / float64(len(sorted))}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	line.StepStyle = plotter.PostStep
	p.Add(line)
	p.X.Min = 0
	return p, nil
}
