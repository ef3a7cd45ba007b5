// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// env is the world as one run of the command sees it. Commands touch the world
// through it only, so that a test can be the world.
type env struct {
	args           []string // without the program's name
	stdin          io.Reader
	stdout, stderr io.Writer
	// log goes to stderr. The root command replaces it once --log-level and
	// --log-format are known: read it in RunE, never while building commands.
	log *slog.Logger
	now func() time.Time
}

func osEnv() *env {
	return &env{
		args:   os.Args[1:],
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		log:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
		now:    time.Now,
	}
}

// run executes one command line and returns the exit code. The context of the
// command ends at SIGINT or SIGTERM; a second signal kills.
func run(e *env) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := rootCommand(e)
	root.SetArgs(e.args)
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	return exitCode(e.stderr, root.ExecuteContext(ctx))
}
