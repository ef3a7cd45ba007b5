// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// sock_diag(7), struct inet_diag_req_v2 and inet_diag_msg. The netlink
// package's own dumps have no filter: a busy node has tens of thousands of
// TIME_WAIT sockets, which would be copied each second.
const (
	diagRequestLen = 56
	diagMessageLen = 72
	diagIDLen      = 48

	attrInfo        = 2  // INET_DIAG_INFO
	attrULPInfo     = 19 // INET_DIAG_ULP_INFO
	attrULPInfoName = 1  // INET_ULP_INFO_NAME

	tcpEstablished = 1
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpListen      = 10
	tcpClosing     = 11
)

// activeStates are those of a connection that can carry data one way at least.
const activeStates = 1<<tcpEstablished | 1<<tcpFinWait1 | 1<<tcpFinWait2 |
	1<<tcpCloseWait | 1<<tcpLastAck | 1<<tcpClosing

// diagSocket is one socket of a dump.
type diagSocket struct {
	local, remote netip.AddrPort
	state         uint8
	inode         uint32
	cookie        uint64
	attrs         []byte
	family        uint8
	id            [diagIDLen]byte // struct inet_diag_sockid
}

// dumpConns lists the connections to the services of the calling thread's
// network namespace. Those that the node made to itself, health checks, are
// left out. AF_INET6 listeners own IPv4 connections too; these come unmapped.
func dumpConns(services map[netip.AddrPort]connService) ([]openConn, error) {
	ports := map[uint16]bool{}
	for vip := range services {
		ports[vip.Port()] = true
	}
	var out []openConn
	for port := range ports {
		err := dumpSockets(diagQuery{port: port, states: activeStates}, func(s diagSocket) {
			// A FIN_WAIT2 without inode is a mini socket: closed, waiting for the FIN.
			isRest := s.state == tcpFinWait2 && s.inode == 0
			if _, ours := services[s.local]; ours && !isRest && s.local.Addr() != s.remote.Addr() {
				out = append(out, openConn{connKey{s.remote, s.local}, s.cookie})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// diagQuery says which sockets a dump gives.
type diagQuery struct {
	port    uint16 // local; 0: any
	states  uint32 // one bit each
	withULP bool   // and their upper layer protocol, for isMPTCP
}

// dumpSockets calls each for all TCP sockets that are asked for, of both families.
func dumpSockets(q diagQuery, each func(diagSocket)) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		req.AddRawData(q.request(family))
		err := req.ExecuteIter(unix.NETLINK_INET_DIAG, 0, func(msg []byte) bool {
			if s, ok := parseDiag(msg); ok {
				each(s)
			}
			return true
		})
		// An interrupted dump may miss sockets that moved; the next one will tell.
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("dump TCP sockets by sock_diag: %w", err)
		}
	}
	return nil
}

// request is struct inet_diag_req_v2: integers in host order but the port.
func (q diagQuery) request(family uint8) []byte {
	b := make([]byte, diagRequestLen)
	b[0], b[1] = family, unix.IPPROTO_TCP
	if q.withULP {
		b[2] = 1 << (attrInfo - 1) // they come together
	}
	binary.NativeEndian.PutUint32(b[4:], q.states)
	binary.BigEndian.PutUint16(b[8:], q.port)
	return b
}

// parseDiag reads struct inet_diag_msg and keeps the attributes behind it.
func parseDiag(b []byte) (diagSocket, bool) {
	if len(b) < diagMessageLen {
		return diagSocket{}, false
	}
	return diagSocket{
		state:  b[1],
		local:  diagAddr(b[0], b[8:24], binary.BigEndian.Uint16(b[4:])),
		remote: diagAddr(b[0], b[24:40], binary.BigEndian.Uint16(b[6:])),
		cookie: binary.NativeEndian.Uint64(b[44:]),
		inode:  binary.NativeEndian.Uint32(b[68:]),
		attrs:  b[diagMessageLen:],
		family: b[0],
		id:     [diagIDLen]byte(b[4:]),
	}, true
}

func diagAddr(family uint8, b []byte, port uint16) netip.AddrPort {
	if family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), port)
}

// isMPTCP tells whether the socket speaks MPTCP: bpf_sk_assign_tcp_reqsk
// refuses such listeners. The kernel says so to who has CAP_NET_ADMIN.
func (s diagSocket) isMPTCP() bool {
	ulp, ok := findAttr(s.attrs, attrULPInfo)
	if !ok {
		return false
	}
	name, ok := findAttr(ulp, attrULPInfoName)
	return ok && strings.TrimRight(string(name), "\x00") == "mptcp"
}

// findAttr gives the value of a netlink attribute.
func findAttr(attrs []byte, kind uint16) ([]byte, bool) {
	for len(attrs) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(attrs))
		if size < unix.SizeofNlAttr || size > len(attrs) {
			return nil, false
		}
		if binary.NativeEndian.Uint16(attrs[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
			return attrs[unix.SizeofNlAttr:size], true
		}
		attrs = attrs[min((size+3)&^3, len(attrs)):]
	}
	return nil, false
}
