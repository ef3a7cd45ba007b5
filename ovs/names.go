// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"strconv"
	"strings"

	of "github.com/contiv/libOpenflow/openflow13"
)

// The reserved ports that onevip uses (OpenFlow 1.3, section 7.2.1).
const (
	PortInPort     uint32 = of.P_IN_PORT
	PortNormal     uint32 = of.P_NORMAL
	PortController uint32 = of.P_CONTROLLER
	PortLocal      uint32 = of.P_LOCAL
	portAny        uint32 = of.P_ANY
)

var reservedPorts = map[uint32]string{
	PortInPort: "IN_PORT", PortNormal: "NORMAL", PortController: "CONTROLLER", PortLocal: "LOCAL",
	of.P_TABLE: "TABLE", of.P_FLOOD: "FLOOD", of.P_ALL: "ALL", portAny: "ANY",
}

// names says what to call ports and tables in text: as ovs-ofctl does with
// --names, or, for the zero value, by number.
type names struct {
	ports  map[uint32]string
	tables bool
}

func newNames(ports []Port) names {
	n := names{ports: make(map[uint32]string, len(ports)), tables: true}
	for _, p := range ports {
		n.ports[p.Number] = p.Name
	}
	return n
}

func (n names) port(number uint32) string {
	if reserved, ok := reservedPorts[number]; ok {
		return reserved
	}
	name, ok := n.ports[number]
	if !ok {
		return strconv.FormatUint(uint64(number), 10)
	}
	if needsQuotes(name) {
		return strconv.Quote(name)
	}
	return name
}

func (n names) table(t Table) string {
	if n.tables {
		return t.String()
	}
	return strconv.Itoa(int(t))
}

// needsQuotes is the rule of OVS for names in flow texts: all but identifiers.
func needsQuotes(name string) bool {
	if name == "" || !isLetter(rune(name[0])) {
		return true
	}
	return strings.ContainsFunc(name, func(r rune) bool {
		return !isLetter(r) && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

func isLetter(r rune) bool { return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// output is the text of an output action.
func (n names) output(port uint32, maxLen uint16) string {
	name := n.port(port)
	switch {
	case port == PortController:
		return fmt.Sprintf("%s:%d", name, maxLen)
	case reservedPorts[port] != "":
		return name
	}
	return "output:" + name
}
