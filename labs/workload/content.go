// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Content gives the bytes of a file from its beginning. They are made as they
// are read, at gigabytes a second, and kept nowhere: the keystream of AES-128 in
// counter mode under a key that is made of the name. So they do not compress,
// no two files are alike, and reading may begin anywhere.
func (f File) Content() *Content {
	key := sha256.Sum256([]byte("onevip workload " + f.Name))
	block, err := aes.NewCipher(key[:aes.BlockSize])
	if err != nil {
		panic(err) // can't be: the key has the right length
	}
	return &Content{block: block, size: f.Bytes}
}

// ETag is the entity tag of the file, quoted.
func (f File) ETag() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", f.Name, f.Bytes))
	return fmt.Sprintf(`"%x"`, sum[:8])
}

// Content is an io.ReadSeeker over a file's bytes. One goroutine may use it.
type Content struct {
	block cipher.Block
	size  int64
	at    int64
	// stream stands at offset at; nil after a Seek.
	stream cipher.Stream
}

// Read gives the next bytes.
func (c *Content) Read(p []byte) (int, error) {
	left := c.size - c.at
	if left <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), left)]
	if c.stream == nil {
		c.begin()
	}
	clear(p)
	c.stream.XORKeyStream(p, p)
	c.at += int64(len(p))
	return len(p), nil
}

// begin starts the keystream at the offset.
func (c *Content) begin() {
	var counter, skipped [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(c.at/aes.BlockSize))
	c.stream = cipher.NewCTR(c.block, counter[:])
	skip := skipped[:c.at%aes.BlockSize]
	c.stream.XORKeyStream(skip, skip)
}

// Seek sets where the next Read begins, as an io.Seeker.
func (c *Content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.size
	default:
		return 0, fmt.Errorf("seek: there is no whence %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("seek: before the beginning")
	}
	if offset != c.at {
		c.at, c.stream = offset, nil
	}
	return offset, nil
}
