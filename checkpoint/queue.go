// SPDX-License-Identifier: Apache-2.0

package checkpoint

// queue holds the bytes of one direction between two offsets. It never holds
// more than limit bytes, and allocates as it fills.
type queue struct {
	base  uint64 // offset of the first byte held
	buf   []byte // buf[head:] is held
	head  int
	limit int
}

func (q *queue) size() int   { return len(q.buf) - q.head }
func (q *queue) room() int   { return q.limit - q.size() }
func (q *queue) end() uint64 { return q.base + uint64(q.size()) }

// push appends what there is room for of p and returns how much that was.
func (q *queue) push(p []byte) int {
	n := min(len(p), q.room())
	if n <= 0 {
		return 0
	}
	if q.head > 0 && len(q.buf)+n > cap(q.buf) {
		q.compact()
	}
	q.buf = append(q.buf, p[:n]...)
	return n
}

func (q *queue) compact() {
	q.buf = q.buf[:copy(q.buf, q.buf[q.head:])]
	q.head = 0
}

// peek copies bytes from offset on into p; none if offset is not held.
func (q *queue) peek(p []byte, offset uint64) int {
	if offset < q.base || offset >= q.end() {
		return 0
	}
	return copy(p, q.buf[q.head+int(offset-q.base):])
}

// drop forgets what lies before offset, which is at most end.
func (q *queue) drop(offset uint64) {
	if offset <= q.base {
		return
	}
	q.head += int(offset - q.base)
	q.base = offset
	if q.head == len(q.buf) {
		q.buf, q.head = q.release(), 0
	}
}

// keepEmpty is how much memory an empty queue may keep for its next bytes.
const keepEmpty = 4 << 10

func (q *queue) release() []byte {
	if cap(q.buf) > keepEmpty {
		return nil
	}
	return q.buf[:0]
}

// truncate forgets what lies at and after offset, which is at least base.
func (q *queue) truncate(offset uint64) {
	if offset < q.end() {
		q.buf = q.buf[:q.head+int(offset-q.base)]
	}
}
