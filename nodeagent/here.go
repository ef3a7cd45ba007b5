// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/bpf"
)

// connsHere tells which of these connections have a socket in the calling thread's
// network namespace, TIME_WAIT too. Each is looked up by itself: that is cheap, however
// many others there are.
func connsHere(flows []bpf.Flow) (map[bpf.Flow]bool, error) {
	socket, err := nl.Subscribe(unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open a socket for sock_diag: %w", err)
	}
	defer socket.Close()
	sockets := map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: {Socket: socket}}
	here := map[bpf.Flow]bool{}
	for _, flow := range flows {
		req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, 0)
		req.Sockets = sockets
		req.AddRawData(lookUpRequest(flow))
		answers, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("look for the socket of %s from %s by sock_diag: %w", flow.VIP, flow.Client, err)
		}
		for _, answer := range answers {
			// Where there is no connection the kernel looks for a listener.
			s, ok := parseDiag(answer)
			if ok && s.state != tcpListen {
				here[flow] = true
			}
		}
	}
	return here, nil
}

// lookUpRequest is struct inet_diag_req_v2 that names the connection.
func lookUpRequest(flow bpf.Flow) []byte {
	b := make([]byte, diagRequestLen)
	b[0], b[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if flow.VIP.Addr().Is4() {
		b[0] = unix.AF_INET
	}
	id := b[8:]
	for i, end := range []netip.AddrPort{flow.VIP, flow.Client} {
		binary.BigEndian.PutUint16(id[2*i:], end.Port())
		copy(id[4+16*i:], end.Addr().AsSlice())
	}
	binary.NativeEndian.PutUint64(id[40:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	return b
}
