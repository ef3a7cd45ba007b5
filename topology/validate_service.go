// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

func (k *checker) services(services []Service) {
	if len(services) == 0 {
		k.fail("services", "there is none", "write at least one - name: web")
	}
	names, taken := map[string]bool{}, map[netip.AddrPort]ServiceName{}
	for i, s := range services {
		at := fmt.Sprintf("services[%d]", i)
		k.uniqueName(at+".name", string(s.Name), names)
		if s.Port == 0 {
			k.fail(at+".port", "is missing or 0", "write 1 to 65535")
		}
		k.vips(at+".vips", s, taken)
		k.among(at+".policy", string(s.Policy), string(LeastConnection), string(RoundRobin), string(SourceHash), string(Locality), string(BoundedHash))
		k.locality(at+".locality", s)
		k.among(at+".replay", string(s.Replay), string(ReplayUnsafe), string(ReplaySafe))
		k.health(at+".health", s.Health)
	}
}

func (k *checker) vips(path string, s Service, taken map[netip.AddrPort]ServiceName) {
	if len(s.VIPs) == 0 {
		k.fail(path, "there is none", "write at least one address")
	}
	for i, vip := range s.VIPs {
		at := fmt.Sprintf("%s[%d]", path, i)
		if what, fix := refuseVIP(vip); what != "" {
			k.fail(at, what, fix)
			continue
		}
		if s.Port == 0 {
			continue
		}
		target := netip.AddrPortFrom(vip, s.Port)
		if first, twice := taken[target]; twice {
			k.fail(at, fmt.Sprintf("%s is taken by service %s", target, first), "write another address or port")
			continue
		}
		taken[target] = s.Name
	}
}

// refuseVIP tells why vip can't be the address of a cluster; what is empty if
// it can.
func refuseVIP(vip netip.Addr) (what, fix string) {
	const unicast = "write a unicast address of the cluster's network"
	switch {
	case !vip.IsValid():
		return "is empty", unicast
	case vip.Is4In6():
		return fmt.Sprintf("%s is an IPv4 address in IPv6 form", vip), "write " + vip.Unmap().String()
	case vip.Zone() != "":
		return fmt.Sprintf("%s has a zone", vip), "write it without %" + vip.Zone()
	case vip.IsUnspecified():
		return fmt.Sprintf("%s is the unspecified address", vip), unicast
	case vip.IsLoopback():
		return fmt.Sprintf("%s is a loopback address", vip), unicast
	case vip.IsMulticast():
		return fmt.Sprintf("%s is a multicast address", vip), unicast
	case vip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Sprintf("%s is the broadcast address", vip), unicast
	case vip.Is6() && vip.IsLinkLocalUnicast():
		return fmt.Sprintf("%s is link-local", vip), "write a global or unique local address"
	}
	return "", ""
}

// The thresholds end where connections per unit of weight have no meaning any
// more, the bound where it binds nothing.
const (
	mostLoad   = 1_000_000
	leastBound = 1.01
	mostBound  = 10.0
)

// locality wants rules where the policy inspects, and none elsewhere.
func (k *checker) locality(path string, s Service) {
	r := s.Locality
	if !s.Policy.Inspects() {
		if r != (LocalityRules{}) {
			k.fail(path, fmt.Sprintf("policy %s does not look at requests", s.Policy), "leave it out, or write policy: locality or bounded-hash")
		}
		return
	}
	if _, _, _, what, fix := r.Key.parse(); what != "" {
		k.fail(path+".key", what, fix)
	}
	k.within(path+".low", int(r.Low), 1, mostLoad)
	k.within(path+".high", int(r.High), 1, mostLoad)
	if r.High <= r.Low {
		k.fail(path+".high", fmt.Sprintf("%d is not above low, %d", r.High, r.Low), "write a larger one, or a smaller low")
	}
	k.span(path+".decay", r.Decay, time.Second, 24*time.Hour)
	if !(r.Bound >= leastBound && r.Bound <= mostBound) { // NaN is refused too
		k.fail(path+".bound", fmt.Sprintf("%v is out of range", r.Bound), fmt.Sprintf("write %v to %v", leastBound, mostBound))
	}
	k.span(path+".silent.after", r.Silent.After, 100*time.Millisecond, 5*time.Second)
	k.among(path+".silent.then", string(r.Silent.Then), string(SilentLeastConnection), string(SilentClose))
}

func (k *checker) health(path string, h Health) {
	k.among(path+".type", string(h.Type), string(HealthTCP), string(HealthHTTP), string(HealthNone))
	switch {
	case h.Type != HealthHTTP && h.Path != "":
		k.fail(path+".path", fmt.Sprintf("a check of type %s has no path", h.Type), "leave it out, or write type: http")
	case h.Type == HealthHTTP && !isRequestPath(h.Path):
		k.fail(path+".path", fmt.Sprintf("%q is no path of a request", h.Path), "write one like /healthz")
	}
	k.span(path+".interval", h.Interval, 100*time.Millisecond, time.Hour)
	k.span(path+".timeout", h.Timeout, 10*time.Millisecond, time.Minute)
	k.within(path+".rise", h.Rise, 1, 100)
	k.within(path+".fall", h.Fall, 1, 100)
}

// isRequestPath tells whether p can stand in a request line (RFC 9112, 3.2.1).
func isRequestPath(p string) bool {
	return strings.HasPrefix(p, "/") && !strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
