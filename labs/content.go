// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// filesLabel asks for files with content that does not compress and is the same
// each time: "1k=1024 1m=1048576". All hosts of a lab share them; a host finds
// them in the folder that ONEVIP_FILES names.
const filesLabel = "onevip.files"

// contentKey makes the content: the keystream of AES-128 in counter mode from
// zero. `openssl enc -aes-128-ctr -in /dev/zero -K 6f6e65766970... -iv 0` writes the same.
const contentKey = "onevip lab files"

func (r *Running) filesDir() string { return filepath.Join(r.data(), "files") }

// contents gives the sizes of all files that the lab's hosts ask for.
func (r *Running) contents() (map[string]int64, error) {
	sizes := map[string]int64{}
	for _, h := range r.Hosts {
		for _, word := range strings.Fields(h.Labels[filesLabel]) {
			name, text, _ := strings.Cut(word, "=")
			size, err := strconv.ParseInt(text, 10, 64)
			if err != nil || size < 0 || name == "" || name != filepath.Base(name) || name == ".." {
				return nil, fmt.Errorf("host %s: label %s: %q is no file; write name=bytes", h.Name, filesLabel, word)
			}
			sizes[name] = size
		}
	}
	return sizes, nil
}

// writeContents makes all files. It stops when ctx ends.
func (r *Running) writeContents(ctx context.Context, sizes map[string]int64) error {
	for name, size := range sizes {
		if err := writeContent(ctx, filepath.Join(r.filesDir(), name), size); err != nil {
			return fmt.Errorf("write lab file %s: %w", name, err)
		}
	}
	return nil
}

func writeContent(ctx context.Context, path string, size int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := fill(ctx, file, size); err != nil {
		return err
	}
	return file.Close()
}

// fill writes the first size bytes of the keystream.
func fill(ctx context.Context, out io.WriteCloser, size int64) error {
	block, err := aes.NewCipher([]byte(contentKey))
	if err != nil {
		return err
	}
	stream := cipher.NewCTR(block, make([]byte, aes.BlockSize))
	buffer := make([]byte, 1<<18)
	for size > 0 && err == nil {
		chunk := buffer[:min(size, int64(len(buffer)))]
		clear(chunk)
		stream.XORKeyStream(chunk, chunk)
		if _, err = out.Write(chunk); err == nil {
			err = ctx.Err()
		}
		size -= int64(len(chunk))
	}
	return err
}
