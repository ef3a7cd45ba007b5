// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const netnsRoot = "/run/netns" // where ip netns looks

func netnsPath(name string) string { return filepath.Join(netnsRoot, name) }

// makeNamespace makes a named namespace with its loopback interface up.
func makeNamespace(name string) error {
	err := onOwnThread(func() error {
		ns, err := netns.NewNamed(name)
		if err != nil {
			return err
		}
		defer ns.Close() //nolint:errcheck // the name keeps it
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	return nil
}

// namespaceThere tells whether a namespace has that name. A file of that name
// alone, left by one that was interrupted, is none.
func namespaceThere(name string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(netnsPath(name), &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// removeNamespace takes the name away. The namespace itself goes with its last
// process. Nothing there is fine.
func removeNamespace(name string) error {
	path := netnsPath(name)
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) { // EINVAL: a file, not mounted on
		return fmt.Errorf("unmount namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

// inNamespace runs fn on a thread inside the namespace. Only the network
// namespace is entered: file systems, the BPF one among them, stay visible.
func inNamespace(name string, fn func() error) error {
	return onOwnThread(func() error {
		ns, err := netns.GetFromName(name)
		if err != nil {
			return fmt.Errorf("open namespace %s: %w", name, err)
		}
		defer ns.Close() //nolint:errcheck // opened for reading
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter namespace %s: %w", name, err)
		}
		return fn()
	})
}

// onOwnThread runs fn with a thread to itself and takes the thread back to its
// namespace afterwards. If that fails, the thread stays locked: it must not run
// other goroutines in the wrong namespace.
func onOwnThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("own network namespace: %w", err)
	}
	defer home.Close() //nolint:errcheck // opened for reading
	err = fn()
	if back := netns.Set(home); back != nil {
		return errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}
