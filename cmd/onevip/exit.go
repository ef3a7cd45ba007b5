// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// The exit codes are part of the interface: docs/operations.md lists them.
const (
	exitOK          = 0
	exitFailed      = 1 // it did not work; stderr says why
	exitUsage       = 2 // the command line is wrong; nothing was done
	exitUnhealthy   = 3 // it was shown, and what it shows is not well
	exitUnreachable = 4 // the cluster's state could not be read
)

// codedError is an error that asks for an exit code of its own. With a nil
// error nothing is printed: the command has shown what is wrong already.
type codedError struct {
	code int
	err  error
}

func (c codedError) Error() string {
	if c.err == nil {
		return fmt.Sprintf("exit code %d", c.code)
	}
	return c.err.Error()
}

func (c codedError) Unwrap() error { return c.err }

// usageErrorf reports a wrong command line.
func usageErrorf(format string, args ...any) error {
	return codedError{exitUsage, fmt.Errorf(format, args...)}
}

// errUnhealthy ends a command that has shown an unhealthy cluster.
var errUnhealthy = codedError{code: exitUnhealthy}

// exitCode prints err, if it has something to say, and maps it to a code. A
// command that was run for the user (lab exec) passes its own code through.
func exitCode(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	var coded codedError
	if errors.As(err, &coded) {
		if coded.err != nil {
			fmt.Fprintln(stderr, "onevip:", err)
		}
		return coded.code
	}
	var child *exec.ExitError
	if errors.As(err, &child) && child.ExitCode() > 0 {
		return child.ExitCode()
	}
	fmt.Fprintln(stderr, "onevip:", err)
	return exitFailed
}
