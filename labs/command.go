// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// killDelay is how long a command may go on after it was asked to end.
const killDelay = 2 * time.Second

// command prepares argv to run as one of the host's processes. Paths inside of
// the host are translated.
func (h Host) command(ctx context.Context, argv []string) (*exec.Cmd, error) {
	argv = translateAll(argv, h.Binds)
	path, err := h.lookPath(argv[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Env = h.Env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	return cmd, nil
}

// lookPath finds a program in the host's PATH, which begins with the lab's own
// folder.
func (h Host) lookPath(program string) (string, error) {
	if strings.ContainsRune(program, '/') {
		return program, nil
	}
	for _, word := range h.Env {
		path, ok := strings.CutPrefix(word, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("host %s: there is no program %q in its PATH", h.Name, program)
}

// start starts cmd in the host's network namespace.
func (h Host) start(cmd *exec.Cmd) error {
	if err := raiseFileLimit(); err != nil {
		return err
	}
	if err := inNamespace(h.Namespace, cmd.Start); err != nil {
		return fmt.Errorf("host %s: start %s: %w", h.Name, cmd.Args[0], err)
	}
	return nil
}

// startCommand starts what the host runs for good, if anything, and writes its
// process down. Nobody's context ends it. The caller must wait for it.
func (h *Host) startCommand() (*exec.Cmd, error) {
	if len(h.Command) == 0 {
		return nil, nil
	}
	cmd, err := h.startDetached(context.Background(), h.Command)
	if err != nil {
		return nil, err
	}
	h.Process, err = processOf(cmd.Process.Pid)
	return cmd, err
}

// startDetached starts a command that outlives this process, with its output in
// the host's log.
func (h Host) startDetached(ctx context.Context, argv []string) (*exec.Cmd, error) {
	cmd, err := h.command(ctx, argv)
	if err != nil {
		return nil, err
	}
	log, err := h.openLog()
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the command has its own handle
	detach(cmd, log)
	cmd.Dir = h.Dir
	return cmd, h.start(cmd)
}

// raiseFileLimit lets this process and its children open as many files as they
// may: ten thousand idle connections are a test, and the usual limit is 1024.
// (Go raises its own limit, but hides that from children unless told so.)
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise limit of open files: %w", err)
	}
	return nil
}

// openLog opens the host's log for appending.
func (h Host) openLog() (*os.File, error) {
	file, err := os.OpenFile(h.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("host %s: open log: %w", h.Name, err)
	}
	return file, nil
}

// detach makes cmd outlive this process: a session of its own, nothing of this
// process's stdio, its output in the log.
func detach(cmd *exec.Cmd, log *os.File) {
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

// tail gives the last lines of a file, or says why it can't.
func tail(path string, lines int) string {
	const most = 16 << 10
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close() //nolint:errcheck // opened for reading
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, 2) // at worst the beginning is shown
	}
	buffer := make([]byte, most)
	n, _ := file.Read(buffer) // what was read is shown
	all := strings.Split(strings.TrimRight(string(buffer[:n]), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
