// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func sampleHeartbeat() heartbeat {
	return heartbeat{
		Node: 3, Incarnation: 0x1122334455667788, Sequence: 99, Leaving: false,
		Services: []serviceBeat{
			{Service: 0, Healthy: true, Active: 7, Adopted: []adoption{{1, 10}, {3, 1 << 40}}},
			{Service: 513, Full: true},
		},
	}
}

// The stored form is described in docs/formats/heartbeat.md.
func TestHeartbeatOnTheWire(t *testing.T) {
	frames := sampleHeartbeat().encode(testKey, maxFrame)
	if len(frames) != 1 {
		t.Fatalf("%d frames, want 1", len(frames))
	}
	want := "31564950" + "01" + "03" + "00" + "02" + // magic, version, node, flags, services
		"1122334455667788" + "0000000000000063" + "004c" + // incarnation, sequence, length 76
		"0000" + "01" + "02" + "00000007" + // service 0, healthy, two adoptions, 7 active
		"01" + "000000000000000a" + "03" + "0000010000000000" +
		"0201" + "02" + "00" + "00000000" // service 513, full
	if got := hex.EncodeToString(frames[0][:len(frames[0])-macLen]); got != want {
		t.Errorf("frame is\n%s, want\n%s", got, want)
	}
	got, refused := decode(frames[0], testKey)
	if refused != accepted {
		t.Fatalf("refused: %s", refused)
	}
	if diff := cmp.Diff(sampleHeartbeat(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLeavingIsTold(t *testing.T) {
	frames := heartbeat{Node: 1, Leaving: true}.encode(testKey, maxFrame)
	if got, _ := decode(frames[0], testKey); !got.Leaving {
		t.Error("the node does not leave")
	}
}

func drawHeartbeat(t *rapid.T) heartbeat {
	h := heartbeat{
		Node:        topology.NodeID(rapid.IntRange(1, 254).Draw(t, "node")),
		Incarnation: rapid.Uint64().Draw(t, "incarnation"),
		Sequence:    rapid.Uint64Range(0, 1<<60).Draw(t, "sequence"),
		Leaving:     rapid.Bool().Draw(t, "leaving"),
	}
	for i := range rapid.IntRange(0, 20).Draw(t, "services") {
		s := serviceBeat{
			Service: topology.ServiceID(i), Healthy: rapid.Bool().Draw(t, "healthy"),
			Full: rapid.Bool().Draw(t, "full"), Active: rapid.Uint32().Draw(t, "active"),
		}
		for id := range rapid.IntRange(0, 254).Draw(t, "adoptions") {
			s.Adopted = append(s.Adopted, adoption{topology.NodeID(id + 1), rapid.Uint64().Draw(t, "total")})
		}
		h.Services = append(h.Services, s)
	}
	return h
}

// However it is cut, nothing is lost, every frame is within the limit, and
// sequences follow each other.
func TestHeartbeatInFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHeartbeat(t)
		limit := rapid.IntRange(minFrame, 2000).Draw(t, "limit")
		got := heartbeat{Node: h.Node, Incarnation: h.Incarnation, Sequence: h.Sequence, Leaving: h.Leaving}
		for i, frame := range h.encode(testKey, limit) {
			if len(frame) > min(limit, maxFrame) {
				t.Fatalf("frame %d has %d bytes, limit %d", i, len(frame), limit)
			}
			part, refused := decode(frame, testKey)
			if refused != accepted {
				t.Fatalf("frame %d refused: %s", i, refused)
			}
			if part.Sequence != h.Sequence+uint64(i) {
				t.Fatalf("frame %d has sequence %d after %d", i, part.Sequence, h.Sequence)
			}
			got.Services = join(got.Services, part.Services)
		}
		if diff := cmp.Diff(h, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// join puts the parts of a service together again.
func join(all, more []serviceBeat) []serviceBeat {
	for _, s := range more {
		if n := len(all); n > 0 && all[n-1].Service == s.Service {
			all[n-1].Adopted = append(all[n-1].Adopted, s.Adopted...)
			continue
		}
		all = append(all, s)
	}
	return all
}

func TestSizesInTheFormatPage(t *testing.T) {
	full := func(services, nodes int) (bytes, frames int) {
		h := heartbeat{Node: 1}
		for s := range services {
			beat := serviceBeat{Service: topology.ServiceID(s)}
			for id := range nodes {
				beat.Adopted = append(beat.Adopted, adoption{topology.NodeID(id + 1), 1})
			}
			h.Services = append(h.Services, beat)
		}
		for _, f := range h.encode(testKey, maxFrame) {
			bytes += len(f)
			frames++
		}
		return bytes, frames
	}
	for _, tt := range []struct{ services, nodes, bytes, frames int }{{1, 4, 86, 1}, {16, 64, 9686, 7}} {
		if bytes, frames := full(tt.services, tt.nodes); bytes != tt.bytes || frames != tt.frames {
			t.Errorf("%d services, %d nodes: %d bytes in %d frames, want %d in %d",
				tt.services, tt.nodes, bytes, frames, tt.bytes, tt.frames)
		}
	}
}

// sign makes an authentic frame of a body that encode would not make.
func sign(body []byte) []byte {
	body[24], body[25] = byte((len(body)+macLen)>>8), byte(len(body)+macLen)
	return append(body, authenticate(testKey, body)...)
}

func TestDecodeRefuses(t *testing.T) {
	whole := sampleHeartbeat().encode(testKey, maxFrame)[0]
	body := func() []byte { return slices.Clone(whole[:len(whole)-macLen]) }
	edited := func(edit func(b []byte) []byte) []byte { return edit(slices.Clone(whole)) }
	resigned := func(edit func(b []byte) []byte) []byte { return sign(edit(body())) }
	tests := []struct {
		name  string
		frame []byte
		want  refusal
	}{
		{"as sent", whole, accepted},
		{"padded by Ethernet", edited(func(b []byte) []byte { return append(b, 0, 0, 0) }), accepted},
		{"nothing", nil, refusedForeign},
		{"a header without MAC", whole[:headerLen+macLen-1], refusedForeign},
		{"other magic", edited(func(b []byte) []byte { b[0] = 'X'; return b }), refusedForeign},
		{"other version", edited(func(b []byte) []byte { b[4] = 2; return b }), refusedForeign},
		{"cut short", whole[:len(whole)-1], refusedLength},
		{"length of nothing", edited(func(b []byte) []byte { b[24], b[25] = 0, 0; return b }), refusedLength},
		{"length beyond a frame", append(edited(func(b []byte) []byte { b[24], b[25] = 0xff, 0xff; return b }),
			make([]byte, 1<<16)...), refusedLength},
		{"a flipped bit", edited(func(b []byte) []byte { b[30] ^= 4; return b }), refusedForged},
		{"a flipped bit of the MAC", edited(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), refusedForged},
		{"node 0", resigned(func(b []byte) []byte { b[5] = 0; return b }), refusedMalformed},
		{"node 255", resigned(func(b []byte) []byte { b[5] = 255; return b }), refusedMalformed},
		{"more services than there are", resigned(func(b []byte) []byte { b[7] = 3; return b }), refusedMalformed},
		{"fewer services than there are", resigned(func(b []byte) []byte { b[7] = 1; return b }), refusedMalformed},
		{"more adoptions than there are", resigned(func(b []byte) []byte { b[headerLen+3] = 250; return b }), refusedMalformed},
		{"adopted of node 0", resigned(func(b []byte) []byte { b[headerLen+serviceLen] = 0; return b }), refusedMalformed},
		{"unknown flags are ignored", resigned(func(b []byte) []byte { b[6] |= 0xf0; return b }), accepted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := decode(tt.frame, testKey); got != tt.want {
				t.Errorf("refusal %q, want %q", got, tt.want)
			}
		})
	}
	if _, got := decode(whole, []byte("another key")); got != refusedForged {
		t.Errorf("with another key: refusal %q, want %q", got, refusedForged)
	}
}

func TestAnyChangedByteIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frame := sampleHeartbeat().encode(testKey, maxFrame)[0]
		at := rapid.IntRange(0, len(frame)-1).Draw(t, "at")
		frame[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		if _, refused := decode(frame, testKey); refused == accepted {
			t.Fatalf("byte %d changed, and taken", at)
		}
	})
}

// FuzzParse feeds what is behind the MAC, as an authentic but broken peer could.
func FuzzParse(f *testing.F) {
	frame := sampleHeartbeat().encode(testKey, maxFrame)[0]
	f.Add(frame[:len(frame)-macLen])
	f.Add(heartbeat{Node: 1}.encode(testKey, maxFrame)[0][:headerLen])
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = decode(body, testKey)
		if len(body) < headerLen || len(body) > maxFrame-macLen {
			return
		}
		copy(body, heartbeatMagic)
		body[4] = heartbeatVersion
		h, refused := decode(sign(body), testKey)
		if refused != accepted {
			return
		}
		again, refused := decode(h.encode(testKey, maxFrame)[0], testKey)
		if refused != accepted {
			t.Fatalf("taken, but not when encoded again: %s", refused)
		}
		if diff := cmp.Diff(h, again); diff != "" {
			t.Fatalf("changed when encoded again (-first +second):\n%s", diff)
		}
	})
}
