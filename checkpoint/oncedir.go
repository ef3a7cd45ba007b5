// SPDX-License-Identifier: Apache-2.0

//go:build unix

package checkpoint

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// DirOnce is Once in a directory that several servers share: one file of eight
// bytes per stream, locked while it is changed. Prune removes what is over.
type DirOnce struct {
	dir string
}

// OpenDirOnce uses dir, which must exist and be writable.
func OpenDirOnce(dir string) (*DirOnce, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("once directory: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("once directory: %s is not a directory", dir)
	}
	return &DirOnce{dir: dir}, nil
}

// Claim implements Once. The time until which the mark counts is the file's
// modification time.
func (d *DirOnce) Claim(_ context.Context, stream StreamID, seq uint64, until time.Time) error {
	f, err := os.OpenFile(filepath.Join(d.dir, stream.String()), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("claim checkpoint: %w", err)
	}
	defer f.Close() // releases the lock
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("claim checkpoint: lock: %w", err)
	}
	var b [8]byte
	// A file that is not whole yet was made by a server that died in here,
	// before it answered anybody: nothing was claimed.
	if n, _ := f.ReadAt(b[:], 0); n == len(b) {
		if used := binary.BigEndian.Uint64(b[:]); seq <= used {
			return replayed(seq, used)
		}
	}
	binary.BigEndian.PutUint64(b[:], seq)
	if _, err := f.WriteAt(b[:], 0); err != nil {
		return fmt.Errorf("claim checkpoint: %w", err)
	}
	if err := os.Chtimes(f.Name(), time.Time{}, until); err != nil {
		return fmt.Errorf("claim checkpoint: %w", err)
	}
	return nil
}

// Prune removes the marks that no longer count at now.
func (d *DirOnce) Prune(now time.Time) error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("prune once directory: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || len(e.Name()) != 2*len(StreamID{}) {
			continue
		}
		if info.ModTime().Before(now) {
			os.Remove(filepath.Join(d.dir, e.Name()))
		}
	}
	return nil
}
