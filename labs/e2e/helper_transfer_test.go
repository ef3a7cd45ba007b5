// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

// transfer is how many bytes went, and their sha256 as the sender or receiver
// saw them.
type transfer struct {
	Bytes  int64
	SHA256 string
}

// helpServe answers each upload with what it got. It listens on the address
// that -vip names and ends when stdin does.
func helpServe(_ context.Context, a helperArgs) (any, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", a.vip)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go receive(conn)
		}
	}()
	fmt.Println("listening")
	_, err = io.Copy(io.Discard, os.Stdin)
	return nil, errors.Join(err, listener.Close())
}

func receive(conn net.Conn) {
	defer conn.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, conn)
	if err == nil {
		fmt.Fprintf(conn, "%d %s\n", n, hex.EncodeToString(sum.Sum(nil)))
	}
}

// helpUpload sends count MiB of random bytes and compares what the server says
// it got.
func helpUpload(ctx context.Context, a helperArgs) (any, error) {
	conn, err := dial(ctx, a.source(0), a.vip)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	sum := sha256.New()
	random := rand.NewChaCha8([32]byte{1})
	sent, err := io.CopyN(io.MultiWriter(conn, sum), random, int64(a.count)<<20)
	if err != nil {
		return nil, fmt.Errorf("after %d bytes: %w", sent, err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return nil, err
	}
	var got transfer
	if _, err := fmt.Fscan(conn, &got.Bytes, &got.SHA256); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	want := transfer{sent, hex.EncodeToString(sum.Sum(nil))}
	if got != want {
		return nil, fmt.Errorf("server got %+v, client sent %+v", got, want)
	}
	return got, nil
}
