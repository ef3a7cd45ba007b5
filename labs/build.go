// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// setupLimit bounds each line of a host's exec list.
const setupLimit = 60 * time.Second

// builder is what Up knows beyond the lab itself.
type builder struct {
	*Running
	source  source
	options Options

	lock  sync.Mutex
	exits map[string]error // by host whose command ended; lock guards it
}

func newBuilder(r *Running, s source, o Options) *builder {
	return &builder{Running: r, source: s, options: o, exits: map[string]error{}}
}

func (b *builder) say(format string, words ...any) {
	fmt.Fprintf(b.options.Progress, format+"\n", words...)
}

func (b *builder) build(ctx context.Context) error {
	started := time.Now()
	b.say("lab %s: %d hosts, %d links", b.Name, len(b.Hosts), len(b.source.lab.Links))
	sizes, err := b.contents()
	if err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	probes, err := b.probes()
	if err != nil {
		return err
	}
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() error { return b.writeContents(workCtx, sizes) })
	work.Go(func() error { return b.buildHosts(workCtx) })
	if err := work.Wait(); err != nil {
		return err
	}
	if err := b.waitReady(ctx, probes); err != nil {
		return err
	}
	b.Ready, b.Since = true, time.Now()
	if err := b.save(); err != nil {
		return err
	}
	b.say("lab %s is up after %.1f s", b.Name, time.Since(started).Seconds())
	return nil
}

// prepare makes the folders and what is in them.
func (b *builder) prepare() error {
	folders := []string{filepath.Join(b.Dir(), "bin"), b.filesDir()}
	for _, h := range b.Hosts {
		folders = append(folders, h.Dir, h.Data)
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make lab folder: %w", err)
		}
	}
	if err := b.unpack(); err != nil {
		return err
	}
	if err := b.linkBinary(); err != nil {
		return err
	}
	return mountBPF()
}

// unpack writes the files of a lab that is inside of the binary, and beside
// them the common ones, as they lie beside each other in the source tree.
func (b *builder) unpack() error {
	if b.source.files == nil {
		return nil
	}
	common, err := fs.Sub(shipped, commonDir)
	if err == nil {
		err = os.CopyFS(filepath.Join(filepath.Dir(b.Folder), commonDir), common)
	}
	if err = errors.Join(err, os.CopyFS(b.Folder, b.source.files)); err != nil {
		return fmt.Errorf("unpack lab: %w", err)
	}
	return nil
}

// linkBinary puts the onevip of choice first in the hosts' PATH.
func (b *builder) linkBinary() error {
	binary := b.options.Binary
	if binary == "" {
		own, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find own binary: %w", err)
		}
		binary = own
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return fmt.Errorf("find binary: %w", err)
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("find binary: %w", err)
	}
	if err := os.Symlink(binary, filepath.Join(b.Dir(), "bin", "onevip")); err != nil {
		return fmt.Errorf("link binary: %w", err)
	}
	return nil
}

// mountBPF mounts the BPF file system where nobody has yet: the agents pin
// their programs there.
func mountBPF() error {
	const dir = "/sys/fs/bpf"
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil && fs.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount the BPF file system at %s: %w", dir, err)
	}
	return nil
}

// buildHosts makes namespaces and links, starts each host's command, and runs
// the hosts' exec lists side by side, as containerlab does.
func (b *builder) buildHosts(ctx context.Context) error {
	for _, h := range b.Hosts {
		if err := errors.Join(ctx.Err(), makeNamespace(h.Namespace)); err != nil {
			return err
		}
	}
	for _, link := range b.source.lab.Links {
		if err := errors.Join(ctx.Err(), connect(link, b.namespace)); err != nil {
			return err
		}
	}
	for i := range b.Hosts {
		if err := b.startCommand(&b.Hosts[i]); err != nil {
			return err
		}
	}
	if err := b.save(); err != nil {
		return err
	}
	setups, setupCtx := errgroup.WithContext(ctx)
	for _, h := range b.Hosts {
		setups.Go(func() error { return h.setUp(setupCtx) })
	}
	return setups.Wait()
}

// startCommand starts what a host runs for good, and watches it.
func (b *builder) startCommand(h *Host) error {
	cmd, err := h.startCommand()
	if err == nil && cmd != nil {
		go b.noteExit(h.Name, cmd)
	}
	return err
}

// noteExit waits for a host's command, so that it is no zombie as long as this
// process lives, and remembers how it ended.
func (b *builder) noteExit(host string, cmd *exec.Cmd) {
	err := cmd.Wait()
	if err == nil {
		err = errors.New("exit status 0")
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	b.exits[host] = err
}

// setUp runs the host's exec list in its order.
func (h Host) setUp(ctx context.Context) error {
	for _, argv := range h.Setup {
		if err := h.setUpLine(ctx, argv); err != nil {
			return err
		}
	}
	return nil
}

func (h Host) setUpLine(ctx context.Context, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	cmd, err := h.startDetached(ctx, argv)
	if err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("host %s: %q: %w\n%s", h.Name, argv, err, tail(h.Log(), 5))
	}
	return nil
}
