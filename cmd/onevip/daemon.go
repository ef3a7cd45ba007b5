// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
)

// runDaemon runs work, with /metrics beside it, until ctx ends, and tells
// systemd when it begins and when it stops. The end of ctx is a good end.
func runDaemon(ctx context.Context, metrics string, registry *prometheus.Registry, work func(context.Context) error) error {
	listener, err := listenMetrics(ctx, metrics)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		var err error
		if listener != nil {
			err = serveMetrics(ctx, listener, registry)
		}
		served <- err
	}()
	notify(daemon.SdNotifyReady)
	err = work(ctx)
	notify(daemon.SdNotifyStopping)
	cancel()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, <-served)
}

// notify tells systemd, if it is there to be told.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// hostname is this machine's name, or nothing: then a flag must say it.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
