// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lockDir is what all processes lock that claim or remove a lab. It is always
// there, and locking it leaves no file behind.
const lockDir = "/run"

// withLock runs fn while no other process claims or removes a lab.
func withLock(fn func() error) error { return locked(lockDir, fn) }

// withLabLock runs fn while no other process changes or removes this lab. Who
// needs both locks takes withLock first. The lab may be gone by then.
func (r *Running) withLabLock(fn func() error) error { return locked(r.Dir(), fn) }

func locked(folder string, fn func() error) error {
	dir, err := os.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return fn() // nothing there that others could change
	}
	if err != nil {
		return fmt.Errorf("lock the labs: %w", err)
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock the labs: %w", err)
	}
	return fn()
}
