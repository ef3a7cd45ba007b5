// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// wantedSysctl is a key that the agent needs at a value.
type wantedSysctl struct {
	key      string // a path under /proc/sys: interface names may hold dots
	value    string
	atLeast1 bool // any value but 0 does
	optional bool // the kernel may not have it, and then needs no change
}

// wantedSysctls are all of one node, for its cluster interface.
//
//   - arp_ignore 1, arp_announce 2: the VIPs on lo are neither answered for nor
//     announced; the switch answers ARP. Neighbour solicitations for an address
//     of another interface are never answered by Linux.
//   - rp_filter 0: clients' packets come in by an interface that need not be the
//     way back.
//   - mptcp.enabled 0: the kfunc refuses MPTCP listeners.
//   - tcp_syncookies at least 1: the kfunc demands it.
//   - tcp_rfc1337 0: a RST must end a TIME_WAIT, so that a tuple can be used again.
func wantedSysctls(iface string) []wantedSysctl {
	var out []wantedSysctl
	for _, conf := range []string{"all", iface, "lo"} {
		dir := "net/ipv4/conf/" + conf + "/"
		out = append(out,
			wantedSysctl{key: dir + "arp_ignore", value: "1"},
			wantedSysctl{key: dir + "arp_announce", value: "2"},
			wantedSysctl{key: dir + "rp_filter", value: "0"},
		)
	}
	return append(out,
		wantedSysctl{key: "net/mptcp/enabled", value: "0", optional: true},
		wantedSysctl{key: "net/ipv4/tcp_syncookies", value: "1", atLeast1: true},
		wantedSysctl{key: "net/ipv4/tcp_rfc1337", value: "0"},
	)
}

// holds tells whether a value is good as it is.
func (w wantedSysctl) holds(value string) bool {
	return value == w.value || w.atLeast1 && value != "0"
}

// readSysctl reads a key of the calling thread's network namespace.
func readSysctl(key string) (string, error) {
	raw, err := os.ReadFile(filepath.Join("/proc/sys", key))
	return strings.TrimSpace(string(raw)), err
}

func writeSysctl(key, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644)
}

// sysctlName is the form that users know: net.ipv4.tcp_rfc1337.
func sysctlName(key string) string { return strings.ReplaceAll(key, "/", ".") }

// setSysctls brings all wanted keys to their values. Each change is in the
// journal, by save, before it is made; an original value that is there already
// is kept.
func (j *journal) setSysctls(wanted []wantedSysctl, save func() error) error {
	for _, w := range wanted {
		if err := j.setSysctl(w, save); err != nil {
			return fmt.Errorf("set %s=%s: %w", sysctlName(w.key), w.value, err)
		}
	}
	return nil
}

func (j *journal) setSysctl(w wantedSysctl, save func() error) error {
	was, err := readSysctl(w.key)
	if errors.Is(err, fs.ErrNotExist) && w.optional {
		return nil
	}
	if err != nil {
		return err
	}
	if w.holds(was) {
		return nil
	}
	if j.sysctl(w.key) == nil {
		j.Sysctls = append(j.Sysctls, changedSysctl{Key: w.key, Was: was, Made: w.value})
		if err := save(); err != nil {
			return err
		}
	}
	return writeSysctl(w.key, w.value)
}

// restoreSysctls gives the original values back, last change first. A key that
// somebody else has changed since is left as it is, one that is gone is forgotten.
// What could not be restored stays in the journal.
func (j *journal) restoreSysctls() error {
	var errs []error
	var left []changedSysctl
	for i := len(j.Sysctls) - 1; i >= 0; i-- {
		c := j.Sysctls[i]
		if err := restoreSysctl(c); err != nil {
			errs = append(errs, fmt.Errorf("restore %s=%s: %w", sysctlName(c.Key), c.Was, err))
			left = append([]changedSysctl{c}, left...)
		}
	}
	j.Sysctls = left
	return errors.Join(errs...)
}

func restoreSysctl(c changedSysctl) error {
	now, err := readSysctl(c.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || now != c.Made {
		return err
	}
	return writeSysctl(c.Key, c.Was)
}
