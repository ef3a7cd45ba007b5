// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"os"
	"path/filepath"
	"time"
)

// media is an open file of the directory.
type media struct {
	*os.File
	name     string
	size     int64
	modified time.Time
}

// errNotFile: the name is of a directory or something special.
var errNotFile = errors.New("not a regular file")

func (s *Server) open(name string) (*media, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotFile
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &media{File: f, name: name, size: info.Size(), modified: info.ModTime()}, nil
}

// etag is equal at two servers if size and modification time are.
func (m *media) etag() string {
	return fmt.Sprintf(`"%x-%x"`, m.size, m.modified.UnixNano())
}

// Types that mime may not know on a small system.
var mediaTypes = map[string]string{
	".ts":   "video/mp2t",
	".m2ts": "video/mp2t",
	".mp4":  "video/mp4",
	".m4s":  "video/iso.segment",
	".m3u8": "application/vnd.apple.mpegurl",
	".mpd":  "application/dash+xml",
	".mkv":  "video/x-matroska",
	".webm": "video/webm",
	".mp3":  "audio/mpeg",
}

func contentType(name string) string {
	ext := filepath.Ext(name)
	if t, ok := mediaTypes[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// notFound reports whether err is the client's fault and not the disk's.
func notFound(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotFile) ||
		errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrPermission)
}
