// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

const patience = 20 * time.Second

// await waits for a condition that must come true.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// journal keeps a log for the test to read.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(words string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), words)
}

// controllerUnderTest is one controller at work.
type controllerUnderTest struct {
	journal
	metrics *prometheus.Registry
	stop    context.CancelFunc
	ended   chan error
}

func start(t *testing.T, store state.Store, f fabric, name string, config topology.Cluster) *controllerUnderTest {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &controllerUnderTest{metrics: prometheus.NewRegistry(), stop: cancel, ended: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(&c.journal, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() {
		c.ended <- run(ctx, Config{Cluster: config, Name: name, Store: store, Log: log, Metrics: c.metrics}, f)
		close(c.ended)
	}()
	t.Cleanup(func() {
		cancel()
		for range c.ended { // until it is closed
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, c.text.String())
		}
	})
	return c
}

// end stops the controller and returns what it ended with.
func (c *controllerUnderTest) end(t *testing.T) error {
	t.Helper()
	c.stop()
	select {
	case err := <-c.ended:
		return err
	case <-time.After(patience):
		t.Fatal("the controller does not end")
		return nil
	}
}

// metric waits for a line of /metrics.
func (c *controllerUnderTest) metric(t *testing.T, line string) {
	t.Helper()
	await(t, line, func() bool {
		families, err := c.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
				t.Fatal(err)
			}
		}
		return strings.Contains(text.String(), line+"\n")
	})
}
