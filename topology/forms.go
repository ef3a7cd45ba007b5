// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	nameForm      = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	interfaceForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,14}$`)
)

// name checks the form of a name: it becomes part of etcd keys and file names.
func (k *checker) name(path, name string) {
	switch {
	case name == "":
		k.fail(path, "is missing", "write a name")
	case !nameForm.MatchString(name):
		k.fail(path, fmt.Sprintf("%q is no name", name),
			"write at most 63 of a-z, 0-9, '-' and '.', with a letter or digit at both ends")
	}
}

func (k *checker) uniqueName(path, name string, seen map[string]bool) {
	k.name(path, name)
	if name != "" && seen[name] {
		k.fail(path, fmt.Sprintf("%q is there twice", name), "write another name")
	}
	seen[name] = true
}

// among checks a word that is one of a few.
func (k *checker) among(path, word string, known ...string) {
	if !slices.Contains(known, word) {
		k.fail(path, fmt.Sprintf("%q is not known", word), oneOf(known))
	}
}

func (k *checker) within(path string, n, least, most int) {
	if n < least || n > most {
		k.fail(path, fmt.Sprintf("%d is out of range", n), fmt.Sprintf("write %d to %d", least, most))
	}
}

func (k *checker) span(path string, d, least, most time.Duration) {
	if d < least || d > most {
		k.fail(path, fmt.Sprintf("%s is out of range", d), fmt.Sprintf("write %s to %s", shortSpan(least), shortSpan(most)))
	}
}

// shortSpan leaves out zero minutes and seconds: 1h, not 1h0m0s.
func shortSpan(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// unicast checks the group bit of an Ethernet address (IEEE 802, 8.2).
func (k *checker) unicast(path string, mac MAC) {
	if mac[0]&1 == 0 {
		return
	}
	fixed := mac
	fixed[0] = fixed[0]&^1 | 2
	k.fail(path, fmt.Sprintf("%s is a multicast address", mac), fmt.Sprintf("write a unicast one like %s", fixed))
}

// listenAddress checks host:port where the host may be empty.
func (k *checker) listenAddress(path, address string) {
	if err := checkHostPort(address, true); err != nil {
		k.fail(path, fmt.Sprintf("%q %v", address, err), "write host:port, or :port for all addresses")
	}
}

// ovsdb checks where a switch's database listens.
func (k *checker) ovsdb(path, target string) {
	scheme, rest, _ := strings.Cut(target, ":")
	const fix = "write unix:/run/openvswitch/db.sock or tcp:192.0.2.1:6640"
	switch scheme {
	case "unix":
		if !strings.HasPrefix(rest, "/") {
			k.fail(path, fmt.Sprintf("%q has no absolute path", target), fix)
		}
	case "tcp", "ssl":
		if err := checkHostPort(rest, false); err != nil {
			k.fail(path, fmt.Sprintf("%q %v", target, err), fix)
		}
	default:
		k.fail(path, fmt.Sprintf("%q is neither unix: nor tcp:", target), fix)
	}
}

// isRemoteOVSDB tells whether the switch is another machine's.
func isRemoteOVSDB(ovsdb string) bool {
	return strings.HasPrefix(ovsdb, "tcp:") || strings.HasPrefix(ovsdb, "ssl:")
}

// target checks where a bridge finds its controller. Open vSwitch wants an
// address there, not a host name. A local switch's is derived, if the rest is
// right.
func (k *checker) target(path, target string, remote bool) {
	const fix = "write tcp:192.0.2.2:6653, the controller's address as the switch sees it"
	scheme, rest, _ := strings.Cut(target, ":")
	if target == "" {
		if remote {
			k.fail(path, "is missing for a switch with a remote OVSDB", fix)
		}
		return
	}
	address, err := netip.ParseAddrPort(rest)
	if (scheme != "tcp" && scheme != "ssl") || err != nil || address.Port() == 0 {
		k.fail(path, fmt.Sprintf("%q is no target of a bridge", target), fix)
	}
}

func checkHostPort(address string, mayBeAll bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("is no host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("has no port between 1 and 65535")
	}
	if host == "" && !mayBeAll {
		return errors.New("has no host")
	}
	return nil
}

// parseEtcdURL accepts http and https with host and port, and nothing behind.
func parseEtcdURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, errors.New("is no http or https URL")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, errors.New("has more than host and port")
	}
	return u, checkHostPort(u.Host, false)
}

// isLoopback takes only addresses and localhost for loopback: other names may
// resolve to anything.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
