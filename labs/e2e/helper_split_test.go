// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/onevip/onevip/labs/workload"
)

// exchange is a request and what must come back.
type exchange struct {
	request []byte
	want    []byte // the answer's body
}

// splitPatience is longer than a lossy network takes.
const splitPatience = 40 * time.Second

// helpSplits has count conversations, so many at a time, on a connection each:
// requests that are cut at random places, one after the other or all at once. The
// answers must be right to the byte, and all of a connection from one node.
func helpSplits(ctx context.Context, a helperArgs) (any, error) {
	files, err := workload.New(workload.Default)
	if err != nil {
		return nil, err
	}
	result := newTally()
	forEach(a.count, a.parallel, func(i int) {
		start := time.Now()
		c := conversation{Rand: rand.New(rand.NewPCG(a.seed, uint64(i))), files: files.Files()}
		node, err := c.hold(ctx, a, i)
		if err != nil {
			err = fmt.Errorf("conversation %d of seed %d: %w", i, a.seed, err)
		}
		result.add(node, time.Since(start), err)
	})
	return result, nil
}

// conversation is one connection's; its Rand decides all of it.
type conversation struct {
	*rand.Rand
	files []workload.File
}

func (c conversation) hold(ctx context.Context, a helperArgs, i int) (node string, err error) {
	conn, err := dial(ctx, a.source(i), a.vip)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(splitPatience)); err != nil {
		return "", err
	}
	exchanges := make([]exchange, 1+c.IntN(3))
	for i := range exchanges {
		if exchanges[i], err = c.exchange(); err != nil {
			return "", err
		}
	}
	if c.IntN(2) == 0 {
		return c.atOnce(conn, exchanges)
	}
	return c.inTurns(conn, exchanges)
}

// atOnce sends all requests as one piece of text, and reads the answers meanwhile.
func (c conversation) atOnce(conn net.Conn, exchanges []exchange) (node string, err error) {
	var all []byte
	for _, e := range exchanges {
		all = append(all, e.request...)
	}
	pieces := c.cut(all)
	sent := make(chan error, 1)
	go func() { sent <- c.send(conn, pieces) }()
	defer func() {
		if err != nil {
			conn.Close() // then the sending ends too
		}
		if failed := <-sent; err == nil {
			err = failed
		}
	}()
	reader := bufio.NewReader(conn)
	for _, e := range exchanges {
		if node, err = e.read(reader, node); err != nil {
			return node, err
		}
	}
	return node, nil
}

// inTurns sends a request when the answer before it is there.
func (c conversation) inTurns(conn net.Conn, exchanges []exchange) (node string, err error) {
	reader := bufio.NewReader(conn)
	for _, e := range exchanges {
		if err := c.send(conn, c.cut(e.request)); err != nil {
			return node, err
		}
		if node, err = e.read(reader, node); err != nil {
			return node, err
		}
	}
	return node, nil
}

// exchange makes a request: for a file, or a body that must come back.
func (c conversation) exchange() (exchange, error) {
	padding := ""
	if c.IntN(4) == 0 { // a request that is longer than a segment
		padding = fmt.Sprintf("X-Padding: %0*d\r\n", 1+c.IntN(3000), 0)
	}
	if c.IntN(3) > 0 {
		f := c.files[c.IntN(len(c.files))]
		for f.Class > 2 { // the larger ones say nothing more
			f = c.files[c.IntN(len(c.files))]
		}
		want, err := io.ReadAll(f.Content())
		return exchange{fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: vip\r\n%s\r\n", f.Name, padding), want}, err
	}
	body := make([]byte, c.IntN(6000))
	for i := range body {
		body[i] = byte(c.Uint32())
	}
	head := fmt.Appendf(nil, "POST /echo/%d HTTP/1.1\r\nHost: vip\r\n%sContent-Length: %d\r\n\r\n", c.IntN(1000), padding, len(body))
	return exchange{append(head, body...), body}, nil
}

// read reads the answer, which must come from the node that answered before, if
// one did.
func (e exchange) read(reader *bufio.Reader, before string) (node string, err error) {
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return before, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	node = response.Header.Get("X-Node")
	switch {
	case err != nil:
		return node, err
	case response.StatusCode != http.StatusOK:
		return node, fmt.Errorf("%.40q: %s", e.request, response.Status)
	case !bytes.Equal(got, e.want):
		return node, fmt.Errorf("%.40q: %d bytes came that are not the %d that should", e.request, len(got), len(e.want))
	case before != "" && node != before:
		return node, fmt.Errorf("%s answered, then %s", before, node)
	}
	return node, nil
}

// cut gives text as pieces: whole, byte by byte at first, or at a few places.
func (c conversation) cut(text []byte) (pieces [][]byte) {
	var at []int
	switch c.IntN(4) {
	case 0:
	case 1:
		for i := range min(len(text), 1+c.IntN(60)) {
			at = append(at, i)
		}
	default:
		for range 1 + c.IntN(5) {
			at = append(at, c.IntN(len(text)))
		}
	}
	slices.Sort(at)
	begin := 0
	for _, end := range append(at, len(text)) {
		if end > begin {
			pieces = append(pieces, text[begin:end])
		}
		begin = end
	}
	return pieces
}

// send writes pieces with random pauses between them; the kernel sends each for itself.
func (c conversation) send(conn net.Conn, pieces [][]byte) error {
	for i, piece := range pieces {
		if i > 0 && c.IntN(3) > 0 {
			time.Sleep(time.Duration(c.IntN(3000)) * time.Microsecond) // how a client behaves, no condition
		}
		if _, err := conn.Write(piece); err != nil {
			return err
		}
	}
	return nil
}
