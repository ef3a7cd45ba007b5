// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// streamProcess is a stream server as a process of its own.
type streamProcess struct {
	cmd *exec.Cmd
	url *url.URL
}

// serve starts a server and returns when it listens.
func (b *checkpointBench) serve(ctx context.Context, listen string, extra ...string) (*streamProcess, error) {
	args := append([]string{"stream", "serve", b.dir, "--listen", listen, "--key-file", b.keyFile, "--log-format", "json"}, extra...)
	cmd := exec.CommandContext(ctx, b.binary, args...)
	logs, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	// A thread waits for the logs, not the runtime's poller, which would then be
	// awake for all that the downloads receive.
	logs.(*os.File).Fd()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	p := &streamProcess{cmd: cmd}
	lines := bufio.NewScanner(logs)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		var line struct{ Msg, Listen string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			p.url = &url.URL{Scheme: "http", Host: line.Listen, Path: "/" + benchFile}
			go func() { // the pipe must not fill
				for lines.Scan() {
				}
			}()
			return p, nil
		}
	}
	p.kill()
	return nil, fmt.Errorf("start server: it did not come up: %s", strings.Join(said, "; "))
}

// kill is kill -9, and waits until the process is gone.
func (p *streamProcess) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// cpu is the processor time that the process used so far.
func (p *streamProcess) cpu() (time.Duration, error) { return processCPU(p.cmd.Process.Pid) }

// processCPU reads the CPU clock of a process: clock_getcpuclockid(3).
func processCPU(pid int) (time.Duration, error) {
	const schedClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// residentBytes is the anonymous memory of a process that is in RAM: what it
// allocated, without the pages of its binary.
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("memory of process %d: no RssAnon in its status", pid)
}
