// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// connReport is one connection that reached etcd.
type connReport struct {
	Client  netip.AddrPort       `json:"client"`
	VIP     netip.AddrPort       `json:"vip"`
	Service topology.ServiceName `json:"service"`
	Node    topology.NodeName    `json:"node"`
	Since   time.Time            `json:"since"`
	Age     string               `json:"age"` // when it was shown
}

// connFilter chooses connections. Its zero value chooses all.
type connFilter struct {
	service topology.ServiceName
	client  clientFilter
}

func (f connFilter) match(conn state.Conn) bool {
	return (f.service == "" || conn.Service == f.service) && f.client.match(conn.Client)
}

// clientFilter is --client: an address, a prefix, or an address and port.
type clientFilter struct {
	prefix netip.Prefix // not valid: any address
	port   uint16       // 0: any port
}

func parseClientFilter(s string) (clientFilter, error) {
	if s == "" {
		return clientFilter{}, nil
	}
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return clientFilter{prefix: prefix.Masked()}, nil
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return clientFilter{prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	if both, err := netip.ParseAddrPort(s); err == nil {
		return clientFilter{prefix: netip.PrefixFrom(both.Addr(), both.Addr().BitLen()), port: both.Port()}, nil
	}
	return clientFilter{}, usageErrorf("--client %q: write an address (10.77.1.1), a prefix (10.77.1.0/24) or address and port (10.77.1.1:4242, [fd77::1]:4242)", s)
}

func (f clientFilter) match(client netip.AddrPort) bool {
	if f.port != 0 && f.port != client.Port() {
		return false
	}
	return !f.prefix.IsValid() || f.prefix.Contains(client.Addr())
}

// connsReport is what onevip conns shows.
type connsReport struct {
	Conns []connReport `json:"conns"`
	// More tells that --limit left some out.
	More bool `json:"more"`
}

// reportConns gives at most limit (0: all) of the connections that the filter
// chooses, the oldest first.
func reportConns(conns []state.Conn, filter connFilter, limit int, now time.Time) connsReport {
	report := connsReport{Conns: []connReport{}}
	slices.SortStableFunc(conns, func(a, b state.Conn) int { return a.Since.Compare(b.Since) })
	for _, conn := range conns {
		if !filter.match(conn) {
			continue
		}
		if limit > 0 && len(report.Conns) == limit {
			report.More = true
			break
		}
		report.Conns = append(report.Conns, connReport{
			Client: conn.Client, VIP: conn.VIP, Service: conn.Service, Node: conn.Node, Since: conn.Since,
			Age: now.Sub(conn.Since).Round(time.Second).String(),
		})
	}
	return report
}

func (r connsReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Prot Age", "Source", "Virtual", "Service", "Node")
	for _, c := range r.Conns {
		t.row("TCP  "+c.Age, c.Client, c.VIP, c.Service, c.Node)
	}
	if err := t.flush(); err != nil || !r.More {
		return err
	}
	_, err := fmt.Fprintf(w, "(the oldest %d; --limit 0 shows all)\n", len(r.Conns))
	return err
}
