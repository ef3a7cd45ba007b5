// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"strings"
)

// Flags of a TCP header (RFC 9293, section 3.1).
const (
	tcpSYN = 1 << 1
	tcpACK = 1 << 4
)

// tcpFlagNames are the words of ovs-ofctl, from the lowest bit.
var tcpFlagNames = [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"}

// flagsText writes the flags of a mask as ovs-ofctl does: + for one that must be
// set, - for one that must not.
func flagsText(value, mask uint64) string {
	var b strings.Builder
	for bit := range 12 { // the header has no more
		if mask>>bit&1 == 0 {
			continue
		}
		sign := "-"
		if value>>bit&1 == 1 {
			sign = "+"
		}
		name := fmt.Sprintf("[%d]", bit)
		if bit < len(tcpFlagNames) {
			name = tcpFlagNames[bit]
		}
		b.WriteString(sign + name)
	}
	return b.String()
}
