// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// rateCache remembers the bitrates of files.
type rateCache struct {
	mu    sync.Mutex
	rates map[string]float64 // by name and etag
}

const maxCachedRates = 1024

// of returns f's bytes per second, 0 if it does not tell.
func (c *rateCache) of(f *media) float64 {
	key := f.name + f.etag()
	c.mu.Lock()
	found, ok := c.rates[key]
	c.mu.Unlock()
	if ok {
		return found
	}
	found = byteRate(f, f.size)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rates == nil || len(c.rates) >= maxCachedRates {
		c.rates = make(map[string]float64) // starts over: finding out is cheap
	}
	c.rates[key] = found
	return found
}

// byteRate finds the bytes per second of an MPEG-TS or MP4 file, 0 if it can not.
func byteRate(r io.ReaderAt, size int64) float64 {
	if found := tsByteRate(r, size); found > 0 {
		return found
	}
	if d := mp4Duration(r, size); d > 0 {
		return float64(size) / d.Seconds()
	}
	return 0
}

const (
	tsPacket = 188
	tsSync   = 0x47
	tsProbe  = 1 << 20 // bytes at either end in which a PCR is looked for
	pcrHz    = 27_000_000
	pcrWrap  = (1 << 33) * 300
)

// pcrAt is a program clock reference (ISO/IEC 13818-1, 2.4.2.2) and its place.
type pcrAt struct {
	pid    uint16
	ticks  uint64 // of 27 MHz
	offset int64
}

// tsByteRate divides the bytes between the first and the last PCR of a program
// by the time between them.
func tsByteRate(r io.ReaderAt, size int64) float64 {
	first := pcrs(r, 0, min(size, tsProbe))
	tail := max(size-tsProbe, 0)
	tail -= tail % tsPacket
	last := pcrs(r, tail, size)
	if len(first) == 0 || len(last) == 0 {
		return 0
	}
	a := first[0]
	for i := len(last) - 1; i >= 0; i-- {
		if b := last[i]; b.pid == a.pid && b.offset > a.offset {
			ticks := (b.ticks + pcrWrap - a.ticks) % pcrWrap
			if ticks == 0 {
				return 0
			}
			return float64(b.offset-a.offset) * pcrHz / float64(ticks)
		}
	}
	return 0
}

// pcrs lists the clock references between two offsets; none if that is not
// MPEG-TS with packets of 188 bytes from the start of the file.
func pcrs(r io.ReaderAt, from, to int64) []pcrAt {
	if to-from < tsPacket {
		return nil
	}
	b := make([]byte, to-from)
	n, _ := r.ReadAt(b, from)
	var found []pcrAt
	for at := 0; at+tsPacket <= n; at += tsPacket {
		p := b[at : at+tsPacket]
		if p[0] != tsSync {
			return nil
		}
		if ticks, ok := pcr(p); ok {
			pid := binary.BigEndian.Uint16(p[1:]) & 0x1fff
			found = append(found, pcrAt{pid: pid, ticks: ticks, offset: from + int64(at)})
		}
	}
	return found
}

// pcr reads the clock reference of one packet, if it has one.
func pcr(p []byte) (ticks uint64, ok bool) {
	const hasAdaptation, hasPCR = 0x20, 0x10
	if p[3]&hasAdaptation == 0 || p[4] < 7 || p[5]&hasPCR == 0 {
		return 0, false
	}
	base := uint64(binary.BigEndian.Uint32(p[6:]))<<1 | uint64(p[10]>>7)
	extension := uint64(binary.BigEndian.Uint16(p[10:]) & 0x1ff)
	return base*300 + extension, true
}

// mp4Duration finds moov/mvhd (ISO/IEC 14496-12, 8.2.2), 0 if there is none.
func mp4Duration(r io.ReaderAt, size int64) time.Duration {
	moov, end := box(r, 0, size, "moov")
	if moov == 0 {
		return 0
	}
	mvhd, end := box(r, moov, end, "mvhd")
	if mvhd == 0 || end-mvhd < 32 {
		return 0
	}
	var b [32]byte
	if _, err := r.ReadAt(b[:], mvhd); err != nil {
		return 0
	}
	scale, ticks := binary.BigEndian.Uint32(b[12:]), uint64(binary.BigEndian.Uint32(b[16:]))
	if b[0] == 1 { // 64-bit times
		scale, ticks = binary.BigEndian.Uint32(b[20:]), binary.BigEndian.Uint64(b[24:])
	}
	if scale == 0 || ticks/uint64(scale) > 1<<24 {
		return 0
	}
	return time.Duration(float64(ticks) / float64(scale) * float64(time.Second))
}

// maxBoxes bounds the walk through a hostile file.
const maxBoxes = 1000

// box finds a box among those between two offsets, and returns where its
// payload begins and ends; zeros if it is not there.
func box(r io.ReaderAt, from, to int64, kind string) (start, end int64) {
	var b [16]byte
	for i := 0; i < maxBoxes && to-from >= 8; i++ {
		if _, err := r.ReadAt(b[:8], from); err != nil {
			return 0, 0
		}
		length, head := int64(binary.BigEndian.Uint32(b[:])), int64(8)
		if length == 1 {
			if _, err := r.ReadAt(b[8:], from+8); err != nil {
				return 0, 0
			}
			length, head = int64(binary.BigEndian.Uint64(b[8:])), 16
		}
		if length == 0 {
			length = to - from // the last one
		}
		if length < head || length > to-from {
			return 0, 0
		}
		if string(b[4:8]) == kind {
			return from + head, from + length
		}
		from += length
	}
	return 0, 0
}
