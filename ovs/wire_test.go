// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	of "github.com/contiv/libOpenflow/openflow13"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestReadMessage(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, io.EOF},
		{"half a header", []byte{4, 0, 0}, io.ErrUnexpectedEOF},
		{"length less than a header", []byte{4, 0, 0, 7, 0, 0, 0, 1}, errShort},
		{"body cut off", []byte{4, 0, 0, 10, 0, 0, 0, 1, 9}, io.ErrUnexpectedEOF},
		{"header only", []byte{4, 0, 0, 8, 0, 0, 0, 1}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := readMessage(bytes.NewReader(tt.in)); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// statsEntry makes the flow stats entry of a flow: match and instructions are
// those of its flow mod, from byte 48 on.
func statsEntry(t interface{ Fatal(...any) }, f Flow) []byte {
	mod, err := flowMod(Change{Op: AddFlow, Flow: f}, 1)
	if err != nil {
		t.Fatal(err)
	}
	entry := make([]byte, 48, 48+len(mod))
	entry[2] = byte(f.Table)
	binary.BigEndian.PutUint16(entry[12:], f.Priority)
	binary.BigEndian.PutUint64(entry[24:], uint64(f.Cookie))
	entry = append(entry, mod[48:]...)
	binary.BigEndian.PutUint16(entry, uint16(len(entry)))
	return entry
}

// TestFlowsSurviveTheWire: what libOpenflow encodes our decoder reads back.
func TestFlowsSurviveTheWire(t *testing.T) {
	intent, ports := lab()
	intent.Trunks, intent.Mirror, intent.Fenced = []string{"trunk"}, true, intent.Members[1:]
	want := Build(intent, ports)
	var body []byte
	for _, f := range want.Flows {
		body = append(body, statsEntry(t, f)...)
	}
	got := flowsOf(t, body)
	if diff := cmp.Diff(want.String(), Pipeline{Groups: want.Groups, Flows: got}.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if changes := Diff(Pipeline{Flows: got, Groups: want.Groups}, want); len(changes) != 0 {
		t.Errorf("what was read back differs: %v", changes)
	}
}

// flowsOf decodes flow stats without their counts.
func flowsOf(t *testing.T, body []byte) []Flow {
	t.Helper()
	entries, err := decodeFlows(body)
	if err != nil {
		t.Fatal(err)
	}
	var flows []Flow
	for _, entry := range entries {
		flows = append(flows, entry.Flow)
	}
	return flows
}

// TestAliases: a switch may name fields by Nicira's older headers.
func TestAliases(t *testing.T) {
	older := rawBytes("\x00\x00\x06\x02\x08\x00") // NXM_OF_ETH_TYPE, 0x0800
	c := cursor{b: append([]byte{0, 1, 0, 10}, append([]byte(older), make([]byte, 6)...)...)}
	got := decodeMatch(&c)
	if diff := cmp.Diff(newMatch(fieldNumber(FieldEthType, etherIPv4)), got); diff != "" || c.bad {
		t.Errorf("bad %v (-want +got):\n%s", c.bad, diff)
	}
}

// TestTCPFlags: OVS names them in a way of the ONF. Another's field 42 is unknown.
func TestTCPFlags(t *testing.T) {
	mirrored := fieldBits(FieldTCPFlags, tcpSYN|tcpACK, tcpSYN|tcpACK)
	for _, tt := range []struct {
		name, experimenter string
		want               FieldID
	}{
		{"ONF", "ONF\x00", FieldTCPFlags},
		{"somebody else", "XYZ\x00", onfTCPFlags},
	} {
		c := cursor{b: []byte("\xff\xff\x55\x08" + tt.experimenter + mirrored.Value + mirrored.Mask)}
		got := decodeField(&c)
		if got.ID != tt.want || c.bad || !c.empty() {
			t.Errorf("%s: field %#x, bad %v, %d bytes left", tt.name, got.ID, c.bad, len(c.b))
		}
		if tt.want == FieldTCPFlags && got != mirrored {
			t.Errorf("%s: %v, want %v", tt.name, got.matchText(names{}), mirrored.matchText(names{}))
		}
	}
	if got := fieldBits(FieldTCPFlags, tcpSYN, tcpSYN|tcpACK|1<<9).matchText(names{}); got != "tcp_flags=+syn-ack-[9]" {
		t.Errorf("flags written %s", got)
	}
}

// TestFullMask: OVS may write an exact field with a mask of ones.
func TestFullMask(t *testing.T) {
	c := cursor{b: []byte{0x80, 0, 11<<1 | 1, 8, 10, 0, 0, 1, 255, 255, 255, 255}}
	if got := decodeField(&c); got.Mask != "" || got.ID != FieldIPv4Src {
		t.Errorf("got %v, want no mask", got.matchText(names{}))
	}
	c = cursor{b: []byte{0x80, 0, 11<<1 | 1, 8, 10, 0, 0, 0, 255, 0, 0, 0}}
	if got := decodeField(&c).matchText(names{}); got != "nw_src=10.0.0.0/8" {
		t.Errorf("got %v", got)
	}
}

// TestUnknownParts: what an operator has installed and onevip does not know is
// read without harm, and kept apart from what it knows.
func TestUnknownParts(t *testing.T) {
	flow := Flow{Priority: 5, Match: newMatch(Field{ID: 0x8000_0000 | 60<<9, Value: "\x01\x02"})}
	entry := statsEntry(t, flow)
	entry = append(entry, 0, of.InstrType_METER, 0, 8, 0, 0, 0, 1)          // meter 1
	entry = append(entry, 0, of.InstrType_APPLY_ACTIONS, 0, 16, 0, 0, 0, 0) // apply
	entry = append(entry, 0, of.ActionType_PopVlan, 0, 8, 0, 0, 0, 0)       // pop_vlan
	binary.BigEndian.PutUint16(entry, uint16(len(entry)))
	flows := flowsOf(t, entry)
	const want = "priority=5,oxm_0x80007800=0x0102 actions=opaque:0012000800000000,opaque:0006000800000001"
	if got := flows[0].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := flowMod(Change{Op: AddFlow, Flow: flows[0]}, 1); err == nil {
		t.Error("an unknown action was encoded")
	}
	if _, err := flowMod(Change{Op: RemoveFlow, Flow: flows[0]}, 1); err != nil {
		t.Errorf("a flow with unknown parts can't be removed: %v", err)
	}
}

// TestGroupTooLong: libOpenflow counts lengths in 16 bits and would wrap.
func TestGroupTooLong(t *testing.T) {
	g := Group{ID: GroupFlood}
	for range 3000 {
		g.Buckets = append(g.Buckets, Bucket{[]Action{Output{1}}})
	}
	if _, err := groupMod(Change{Op: AddGroup, Group: g}, 1); err == nil {
		t.Error("a group of 96 kB was encoded")
	}
	if _, err := packetOut(make([]byte, 65530), []uint32{1}); err == nil {
		t.Error("a frame of 64 kB was encoded")
	}
}

func TestSpeaks13(t *testing.T) {
	bitmap := func(bits uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{0, 1, 0, 8}, bits)
	}
	for _, tt := range []struct {
		name    string
		version uint8
		body    []byte
		want    bool
	}{
		{"1.3 without bitmap", 4, nil, true},
		{"1.0 without bitmap", 1, nil, false},
		{"1.5 without bitmap: the lower is spoken", 6, nil, true},
		{"1.5 with 1.3", 6, bitmap(1<<4 | 1<<6), true},
		{"1.5 without 1.3", 6, bitmap(1 << 6), false},
		{"unknown element first", 6, append([]byte{0, 9, 0, 5, 1, 0, 0, 0}, bitmap(1<<4)...), true},
		{"element of length 0", 4, []byte{0, 9, 0, 0}, true},
		{"element shorter than itself, and more (looped once)", 4, []byte{0, 9, 0, 2, 0, 0, 0, 0, 0, 0}, true},
		{"bitmap cut off", 4, []byte{0, 1, 0, 8, 0}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := speaks13(message{version: tt.version, body: tt.body}); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// decodeAll lets every decoder read the same bytes.
func decodeAll(b []byte) {
	m := message{version: of.VERSION, body: b}
	speaks13(m)
	_, _ = decodeFlows(b)
	_, _ = decodeGroups(b)
	_, _ = decodePorts(b)
	_, _ = decodePortStatus(b)
	_, _ = decodePacketIn(b)
	_, _ = decodeFeatures(b)
	_, _ = decodeMultipart(b)
	_, _ = decodeBundleReply(b)
	_, _ = decodeError(b)
}

// FuzzDecode: no bytes make a decoder panic or hang, and what flows and groups
// they give can be printed.
func FuzzDecode(f *testing.F) {
	intent, ports := lab()
	for _, flow := range Build(intent, ports).Flows {
		f.Add(statsEntry(f, flow))
	}
	f.Add([]byte{0, 40, 0, 0, 0, 0, 0, 1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 16, 0, 0, 0, 1, 255, 255, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeAll(b)
		groups, _ := decodeGroups(b)
		_ = Pipeline{Groups: groups}.String()
		flows, _ := decodeFlows(b)
		for _, flow := range flows {
			if _, err := flowMod(Change{Op: RemoveFlow, Flow: flow.Flow}, 1); err != nil && len(b) < 1<<15 {
				t.Errorf("can't remove %v: %v", flow, err)
			}
		}
	})
}

// TestDecodeDamaged damages good entries: the fuzzer's work in small, in every
// run of the tests.
func TestDecodeDamaged(t *testing.T) {
	intent, ports := lab()
	flows := Build(intent, ports).Flows
	rapid.Check(t, func(t *rapid.T) {
		entry := statsEntry(t, rapid.SampledFrom(flows).Draw(t, "flow"))
		for range rapid.IntRange(1, 4).Draw(t, "damages") {
			entry[rapid.IntRange(0, len(entry)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		decodeAll(entry[:rapid.IntRange(0, len(entry)).Draw(t, "cut")])
	})
}
