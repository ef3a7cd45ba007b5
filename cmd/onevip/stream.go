// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onevip/onevip/checkpoint"
)

// streamCommand is the media server whose streams survive it, and its clients.
func streamCommand(e *env) *cobra.Command {
	return parent("stream", "Serve and play media whose streams survive their server",
		streamServeCommand(e),
		streamGetCommand(e),
		streamRelayCommand(e),
		streamKeygenCommand(e),
	)
}

// streamFlags are how a client behaves when its server dies.
type streamFlags struct {
	silence time.Duration
	timeout time.Duration
}

func (f *streamFlags) register(flags *pflag.FlagSet) {
	d := checkpoint.Defaults()
	flags.DurationVar(&f.silence, "silence", d.Silence, "take a server for dead after this long without a sign of life")
	flags.DurationVar(&f.timeout, "resume-timeout", d.ResumeTimeout, "give up when no server goes on within this time")
}

func (f *streamFlags) options() checkpoint.Options {
	return checkpoint.Options{Silence: f.silence, ResumeTimeout: f.timeout, AcceptTimeout: max(2*f.silence, 500*time.Millisecond)}
}

// streamURL reads the address of a stream server.
func streamURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, usageErrorf("url: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, usageErrorf("url %q: write http://HOST[:PORT]/PATH or https://...", text)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

func streamKeygenCommand(e *env) *cobra.Command {
	var keep int
	cmd := &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make the key file that all servers of a service share, or add a new key to it",
		Long: `Make FILE, readable by its owner only, with a new key; or, if FILE exists, make a
new key the current one and keep older ones, so that streams go on. Running
servers notice. Copy the same file to each server: until a server has it,
checkpoints under the new key are refused there as unknown-key, so copy it
everywhere before the old keys are dropped.`,
		Args: exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := checkpoint.RotateKeyFile(args[0], keep)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%s: current key is %s\n", args[0], id)
			return nil
		},
	}
	cmd.Flags().IntVar(&keep, "keep", 2, "how many older keys stay accepted")
	return cmd
}

// explainStream adds what a user can do about a refusal.
func explainStream(err error) error {
	hint := ""
	switch {
	case errors.Is(err, checkpoint.ErrUnknownKey):
		hint = "the servers do not share one key file: see onevip stream keygen"
	case errors.Is(err, checkpoint.ErrState):
		hint = "the servers do not hold the same files (size and modification time), or not the same live source"
	case errors.Is(err, checkpoint.ErrForeignService):
		hint = "another service answers at this address"
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, hint)
}
