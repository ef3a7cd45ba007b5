// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// boot names the life of a node's kernel state: the machine's boot, and the
// network namespace in it, for labs have many nodes on one machine.
type boot struct {
	ID        string // /proc/sys/kernel/random/boot_id
	Namespace uint64 // SO_NETNS_COOKIE: unlike the inode it is never used again
}

// currentBoot reads the boot of the calling thread's network namespace.
func currentBoot() (boot, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return boot{}, fmt.Errorf("read boot id: %w", err)
	}
	ns, err := namespaceCookie()
	if err != nil {
		return boot{}, fmt.Errorf("identify the network namespace: %w", err)
	}
	return boot{ID: strings.TrimSpace(string(id)), Namespace: ns}, nil
}

// namespaceCookie asks through a socket of its own.
func namespaceCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

// incarnation is the boot in 64 bits: the first 8 bytes of SHA-256, never 0.
func (b boot) incarnation() uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", b.ID, b.Namespace))
	return max(1, binary.BigEndian.Uint64(sum[:]))
}

// formatIncarnation is the stored form of an incarnation: 16 hex digits.
func formatIncarnation(i uint64) string { return fmt.Sprintf("%016x", i) }

// parseIncarnation is the inverse of formatIncarnation; 0 where s is no such form.
func parseIncarnation(s string) uint64 {
	i, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0
	}
	return i
}

// sinceBoot is the time since the machine's boot in microseconds, suspended
// time included: it never goes back within an incarnation.
func sinceBoot() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read the boot clock: %w", err)
	}
	return uint64(ts.Nano()) / 1000, nil
}
