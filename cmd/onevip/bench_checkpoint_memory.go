// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/checkpoint"
	"github.com/onevip/onevip/checkpoint/stream"
)

// memoryReport is what n streams add to the memory of both processes.
type memoryReport struct {
	Streams      int          `json:"streams"`
	Ratio        float64      `json:"ratio"` // server and client together
	ServerRatio  float64      `json:"server_ratio"`
	ClientRatio  float64      `json:"client_ratio"`
	Plain        memoryOfRuns `json:"plain"`
	Checkpointed memoryOfRuns `json:"checkpointed"`
}

// memoryOfRuns is anonymous resident memory in bytes per stream.
type memoryOfRuns struct {
	ServerPerStream float64 `json:"server_bytes_per_stream"`
	ClientPerStream float64 `json:"client_bytes_per_stream"`
}

// memoryRate keeps the streams slow: they are to be many, not fast.
const memoryRate = "128k"

func (b *checkpointBench) memory(ctx context.Context, n int) (memoryReport, error) {
	report := memoryReport{Streams: n}
	var err error
	if report.Plain, err = b.memoryOf(ctx, n, true); err != nil {
		return report, err
	}
	if report.Checkpointed, err = b.memoryOf(ctx, n, false); err != nil {
		return report, err
	}
	p, c := report.Plain, report.Checkpointed
	report.ServerRatio = c.ServerPerStream / p.ServerPerStream
	report.ClientRatio = c.ClientPerStream / p.ClientPerStream
	report.Ratio = (c.ServerPerStream + c.ClientPerStream) / (p.ServerPerStream + p.ClientPerStream)
	b.e.log.Info("memory measured", "streams", n, "ratio", report.Ratio)
	return report, nil
}

// memoryOf measures fresh processes: before and after n streams run.
func (b *checkpointBench) memoryOf(ctx context.Context, n int, plain bool) (memoryOfRuns, error) {
	server, err := b.serve(ctx, "127.0.0.1:0", "--rate", memoryRate, "--burst", "1s")
	if err != nil {
		return memoryOfRuns{}, err
	}
	defer server.kill()
	clients, err := b.startClients(ctx, server.url.String(), plain)
	if err != nil {
		return memoryOfRuns{}, err
	}
	defer clients.stop()
	// The first stream pays for what all share: it is there before.
	if err := clients.open(1); err != nil {
		return memoryOfRuns{}, err
	}
	before, err := memoryOfBoth(server, clients)
	if err != nil {
		return memoryOfRuns{}, err
	}
	if err := clients.open(n); err != nil {
		return memoryOfRuns{}, err
	}
	after, err := memoryOfBoth(server, clients)
	if err != nil {
		return memoryOfRuns{}, err
	}
	return memoryOfRuns{
		ServerPerStream: float64(after[0]-before[0]) / float64(n),
		ClientPerStream: float64(after[1]-before[1]) / float64(n),
	}, nil
}

func memoryOfBoth(server *streamProcess, clients *clientProcess) ([2]int64, error) {
	s, err := residentBytes(server.cmd.Process.Pid)
	if err != nil {
		return [2]int64{}, err
	}
	c, err := residentBytes(clients.cmd.Process.Pid)
	return [2]int64{s, c}, err
}

// clientProcess holds streams open, as many as it is told to.
type clientProcess struct {
	cmd   *exec.Cmd
	tell  io.WriteCloser
	hears *bufio.Reader
}

func (b *checkpointBench) startClients(ctx context.Context, url string, plain bool) (*clientProcess, error) {
	cmd := exec.CommandContext(ctx, b.binary, "bench", "checkpoint", "clients", url, fmt.Sprintf("--plain=%t", plain))
	cmd.Stderr = b.e.stderr
	tell, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	hears, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	return &clientProcess{cmd: cmd, tell: tell, hears: bufio.NewReader(hears)}, nil
}

// open has n more streams opened and waits until each had data for a while.
func (c *clientProcess) open(n int) error {
	if _, err := fmt.Fprintln(c.tell, n); err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	if _, err := c.hears.ReadString('\n'); err != nil {
		return fmt.Errorf("clients: they did not open %d streams: %w", n, err)
	}
	return nil
}

func (c *clientProcess) stop() {
	c.tell.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// benchStreamClientsCommand is the process that holds the streams.
func benchStreamClientsCommand(e *env) *cobra.Command {
	var plain bool
	cmd := &cobra.Command{
		Use:    "clients URL",
		Short:  "Hold streams open: reads numbers from stdin, answers each when so many more are open",
		Hidden: true,
		Args:   exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return holdStreams(cmd.Context(), e, args[0], plain)
		},
	}
	cmd.Flags().BoolVar(&plain, "plain", false, "plain HTTP")
	return cmd
}

// settle is how long streams run before memory is looked at: several
// checkpoints, and the goroutines' stacks have their size.
const settle = 3 * time.Second

func holdStreams(ctx context.Context, e *env, address string, plain bool) error {
	u, err := streamURL(address)
	if err != nil {
		return err
	}
	// Resident memory is to tell what streams need, not what garbage awaits
	// the collector: collect before each answer.
	for {
		var n int
		if _, err := fmt.Fscan(e.stdin, &n); err != nil {
			return nil // the benchmark is done with us
		}
		if err := openStreams(ctx, n, func() *http.Transport {
			var used atomic.Pointer[checkpoint.Stream]
			return benchTransport(u, plain, &used)
		}, u.String()); err != nil {
			return err
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return nil
		}
		debug.FreeOSMemory()
		fmt.Fprintln(e.stdout, "open")
	}
}

// openStreams opens n streams, of which each then reads slowly for ever, and
// returns when all have had their first byte.
func openStreams(ctx context.Context, n int, transport func() *http.Transport, address string) error {
	u, err := streamURL(address)
	if err != nil {
		return err
	}
	var first sync.WaitGroup
	failed := make(chan error, n)
	limit := make(chan struct{}, 32) // connects at a time
	for range n {
		first.Add(1)
		go func() {
			limit <- struct{}{}
			var once sync.Once
			done := func() { once.Do(func() { <-limit; first.Done() }) }
			defer done()
			_, err := stream.Fetch(ctx, transport(), u, "", writerFunc(func(p []byte) (int, error) {
				done()
				return len(p), nil
			}), nil)
			failed <- err
		}()
	}
	first.Wait()
	select {
	case err := <-failed:
		return fmt.Errorf("a stream ended: %w", err)
	default:
		return nil
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
