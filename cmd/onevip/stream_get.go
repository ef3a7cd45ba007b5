// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/onevip/onevip/checkpoint"
	"github.com/onevip/onevip/checkpoint/stream"
)

// streamGetFlags are the flags of stream get.
type streamGetFlags struct {
	streamFlags
	output    string
	byteRange string
	plain     bool
	quiet     bool
}

func streamGetCommand(e *env) *cobra.Command {
	var f streamGetFlags
	cmd := &cobra.Command{
		Use:   "get URL",
		Short: "Download from a stream server, across its crashes",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := streamURL(args[0])
			if err != nil {
				return err
			}
			return explainStream(runStreamGet(cmd.Context(), e, u, f))
		},
	}
	flags := cmd.Flags()
	f.register(flags)
	flags.StringVarP(&f.output, "output", "o", "-", "file to write to; - is stdout")
	flags.StringVar(&f.byteRange, "range", "", "bytes to ask for: 0-999, 1000- or -500")
	flags.BoolVar(&f.plain, "plain", false, "plain HTTP, which a crash interrupts: for comparison")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress and no summary")
	return cmd
}

func runStreamGet(ctx context.Context, e *env, u *url.URL, f streamGetFlags) error {
	out, done, err := openOutput(e, f.output)
	if err != nil {
		return err
	}
	var used atomic.Pointer[checkpoint.Stream]
	rt := f.transport(e, u, &used)
	bar := f.progress(e)
	start := time.Now()
	n, err := stream.Fetch(ctx, rt, u, f.byteRange, io.MultiWriter(out, bar), func(r *http.Response) {
		bar.ChangeMax64(r.ContentLength)
	})
	_ = bar.Exit() // what it could not draw is no failure
	err = errors.Join(err, done())
	if !f.quiet {
		fmt.Fprintln(e.stderr, getSummary(n, time.Since(start), used.Load()))
	}
	return err
}

// transport is the plain or the checkpointed way; used learns the stream.
func (f streamGetFlags) transport(e *env, u *url.URL, used *atomic.Pointer[checkpoint.Stream]) *http.Transport {
	if f.plain {
		return &http.Transport{DisableCompression: true}
	}
	opts := f.options()
	opts.OnEvent = func(ev checkpoint.Event) {
		if ev.Kind == checkpoint.EventLost || ev.Kind == checkpoint.EventResumed {
			e.log.Debug("stream "+ev.Kind.String(), "at", ev.Position.Out, "outage", ev.Outage, "err", ev.Err)
		}
	}
	return stream.NewTransport(u, stream.TransportOptions{
		Checkpoint: opts,
		OnStream:   func(s *checkpoint.Stream) { used.Store(s) },
	})
}

// progress is a bar on a terminal, nothing elsewhere.
func (f streamGetFlags) progress(e *env) *progressbar.ProgressBar {
	file, ok := e.stderr.(*os.File)
	if f.quiet || !ok || !term.IsTerminal(int(file.Fd())) {
		return progressbar.DefaultBytesSilent(-1)
	}
	return progressbar.NewOptions64(-1, progressbar.OptionSetWriter(file), progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
}

// openOutput returns where to write, and what closes it.
func openOutput(e *env, name string) (io.Writer, func() error, error) {
	if name == "-" {
		return e.stdout, func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

func getSummary(n int64, took time.Duration, s *checkpoint.Stream) string {
	text := fmt.Sprintf("%s in %s, %s/s", humanize.IBytes(uint64(n)), took.Round(time.Millisecond),
		humanize.IBytes(uint64(float64(n)/max(took.Seconds(), 1e-9))))
	if s == nil {
		return text
	}
	st := s.Stats()
	return text + fmt.Sprintf("; %d checkpoints of %d bytes, %d resumes, longest outage %s, %d bytes came twice and were dropped",
		st.Checkpoints, st.CheckpointSize, st.Resumes, st.LongestOutage.Round(time.Millisecond), st.Repeated)
}
