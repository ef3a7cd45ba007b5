// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// tsFile makes MPEG-TS packets at a rate, with a clock reference in each tenth.
func tsFile(packets int, bytesPerSecond float64, from uint64) []byte {
	var b bytes.Buffer
	for i := range packets {
		p := make([]byte, tsPacket)
		p[0], p[1], p[2], p[3] = tsSync, 0x01, 0x00, 0x10
		if i%10 == 0 {
			ticks := (from + uint64(float64(i*tsPacket)/bytesPerSecond*pcrHz)) % pcrWrap
			base, extension := ticks/300, ticks%300
			p[3], p[4], p[5] = 0x30, 7, 0x10
			binary.BigEndian.PutUint32(p[6:], uint32(base>>1))
			p[10] = byte(base&1)<<7 | 0x7e | byte(extension>>8)
			p[11] = byte(extension)
		}
		b.Write(p)
	}
	return b.Bytes()
}

func box4(kind string, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(payload)))
	return append(append(b, kind...), payload...)
}

func mp4File(scale, duration uint32, size int) []byte {
	mvhd := make([]byte, 100)
	binary.BigEndian.PutUint32(mvhd[12:], scale)
	binary.BigEndian.PutUint32(mvhd[16:], duration)
	b := append(box4("ftyp", make([]byte, 16)), box4("moov", append(box4("free", nil), box4("mvhd", mvhd)...))...)
	return append(b, box4("mdat", make([]byte, size-len(b)-8))...)
}

func TestByteRate(t *testing.T) {
	cases := []struct {
		name string
		file []byte
		want float64
	}{
		{"transport stream", tsFile(2000, 250_000, 0), 250_000},
		{"longer than both probes", tsFile(20_000, 1e6, 12345), 1e6},
		{"clock that wraps", tsFile(2000, 250_000, pcrWrap-pcrHz/2), 250_000},
		{"mp4 of 20 s", mp4File(1000, 20_000, 100_000), 5_000},
		{"something else", bytes.Repeat([]byte("text "), 1000), 0},
		{"nothing", nil, 0},
		{"mp4 without scale", mp4File(0, 20_000, 100_000), 0},
		{"broken box", []byte{0, 0, 0, 3, 'm', 'o', 'o', 'v', 0, 0}, 0},
		{"one packet", tsFile(1, 1000, 0), 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := byteRate(bytes.NewReader(c.file), int64(len(c.file)))
			if math.Abs(got-c.want) > 0.01*c.want {
				t.Errorf("%.0f bytes per second, want %.0f", got, c.want)
			}
		})
	}
}

func FuzzByteRate(f *testing.F) {
	f.Add(tsFile(30, 1000, 0))
	f.Add(mp4File(1000, 20_000, 1000))
	f.Fuzz(func(t *testing.T, file []byte) {
		if got := byteRate(bytes.NewReader(file), int64(len(file))); got < 0 || math.IsNaN(got) {
			t.Errorf("rate %f", got)
		}
	})
}

func TestChunkSizes(t *testing.T) {
	size := int64(minChunk)
	for range 20 {
		size = resize(size, time.Millisecond)
	}
	if size != maxChunk {
		t.Errorf("a fast client gets %d bytes at a time, want %d", size, maxChunk)
	}
	if got := resize(size, chunkTime); got != size {
		t.Errorf("%d after a chunk of the right length, want %d", got, size)
	}
	for range 20 {
		size = resize(size, time.Second)
	}
	if size != minChunk {
		t.Errorf("a slow client gets %d bytes at a time, want %d", size, minChunk)
	}
}
