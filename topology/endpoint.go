// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

func (e Endpoint) String() string { return string(e.Switch) + ":" + e.Port }

// MarshalText gives switch:port.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads switch:port.
func (e *Endpoint) UnmarshalText(text []byte) error {
	sw, port, ok := strings.Cut(string(text), ":")
	if !ok || sw == "" || port == "" {
		return fmt.Errorf("%q is no switch:port", text)
	}
	*e = Endpoint{Switch: SwitchName(sw), Port: port}
	return nil
}

func (l Link) String() string { return l.A.String() + " -- " + l.B.String() }

// MarshalYAML gives [switch:port, switch:port], which is how a link is written.
func (l Link) MarshalYAML() (any, error) {
	var n yaml.Node
	if err := n.Encode([]Endpoint{l.A, l.B}); err != nil {
		return nil, err
	}
	n.Style = yaml.FlowStyle
	return &n, nil
}
