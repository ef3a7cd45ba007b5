// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// Stdio is what a command in a host reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exec runs a command in a host and waits for it. It gives the exit code, 128
// plus the signal's number if one ended it; the error says why it didn't run at
// all. It asks the command to end when ctx does.
func Exec(ctx context.Context, lab, host string, argv []string, stdio Stdio) (int, error) {
	if len(argv) == 0 {
		return 0, errors.New("there is no command to run; write one behind --")
	}
	r, err := Find(lab)
	if err != nil {
		return 0, err
	}
	h, err := r.Host(host)
	if err != nil {
		return 0, err
	}
	cmd, err := h.command(ctx, argv)
	if err != nil {
		return 0, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio.In, stdio.Out, stdio.Err
	if err := h.start(cmd); err != nil {
		return 0, err
	}
	return exitCode(cmd.Wait())
}

// exitCode turns the end of a command into a shell's exit code.
func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, fmt.Errorf("run command: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
