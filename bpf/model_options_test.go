// SPDX-License-Identifier: Apache-2.0

package bpf

// readOptions is the Go twin of parse_options: what TCP options say, and
// whether they are well formed up to their end (RFC 9293, 3.2).
func readOptions(raw []byte) (o optionsRead, ok bool) {
	o = optionsRead{offer: offer{mss: -1, wscale: -1}}
	for len(raw) > 0 && raw[0] != 0 {
		if raw[0] == 1 {
			raw = raw[1:]
			continue
		}
		if len(raw) < 2 || raw[1] < 2 || int(raw[1]) > len(raw) {
			return o, false
		}
		o.take(raw[0], raw[2:raw[1]])
		raw = raw[raw[1]:]
	}
	return o, true
}

type optionsRead struct {
	offer
	tsecr uint32
}

// take notes one option, unless its length is wrong for its kind.
func (o *optionsRead) take(kind byte, data []byte) {
	switch {
	case kind == 2 && len(data) == 2:
		o.mss = int(be.Uint16(data))
	case kind == 3 && len(data) == 1:
		o.wscale = int(data[0])
	case kind == 4 && len(data) == 0:
		o.sack = true
	case kind == 8 && len(data) == 8:
		o.timestamps = true
		o.tsval, o.tsecr = be.Uint32(data), be.Uint32(data[4:])
	}
}

// scale is the window scale as a cookie has it.
func (o offer) scale() uint8 {
	if o.wscale < 0 {
		return noScale
	}
	return uint8(min(o.wscale, 14)) // RFC 7323, 2.3
}
