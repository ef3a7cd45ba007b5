// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	keyFileSchema = "onevip.checkpoint.keys/1"
	maxKeyFile    = 64 << 10
	maxFileKeys   = 64
	// keyFileRecheck is how old the keys in memory may be: a rotation is
	// sealed with after this long at the latest. An unknown key is looked for
	// in the file at once.
	keyFileRecheck = 5 * time.Second
	// keyFileMissGap bounds how often unknown ids make us look at the file.
	keyFileMissGap = 100 * time.Millisecond
)

// keyFileContent is the file's JSON. The first key is the current one.
type keyFileContent struct {
	Schema string         `json:"schema"`
	Keys   []keyFileEntry `json:"keys"`
}

type keyFileEntry struct {
	Secret  []byte    `json:"secret"` // base64
	Created time.Time `json:"created"`
}

// KeyFile is Keys in a file that several servers share, on one machine or by
// copying it. It follows changes of the file; while the changed file is
// unreadable the keys read before stay in force. Safe for concurrent use.
type KeyFile struct {
	path string
	ring *KeyRing

	mu      sync.Mutex // guards the rest, and reading the file
	checked time.Time
	stamp   fileStamp
	err     error
}

// fileStamp tells one content of the file from the next.
type fileStamp struct {
	modified time.Time
	size     int64
}

// OpenKeyFile reads the keys at path. The file must not be readable by others
// than its owner.
func OpenKeyFile(path string) (*KeyFile, error) {
	content, stamp, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := content.parse(path)
	if err != nil {
		return nil, err
	}
	return &KeyFile{path: path, ring: NewKeyRing(keys[0], keys[1:]...), checked: time.Now(), stamp: stamp}, nil
}

// Current implements Keys.
func (f *KeyFile) Current() Key {
	f.refresh(keyFileRecheck)
	return f.ring.Current()
}

// Lookup implements Keys. An id that is not known is looked for in the file.
func (f *KeyFile) Lookup(id KeyID) (Key, bool) {
	if k, ok := f.ring.Lookup(id); ok {
		return k, true
	}
	f.refresh(keyFileMissGap)
	return f.ring.Lookup(id)
}

// Err returns why the file could not be read the last time, or nil.
func (f *KeyFile) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// refresh looks at the file when the last look is older than age.
func (f *KeyFile) refresh(age time.Duration) {
	if !f.mu.TryLock() {
		return // somebody else looks: go on with what is there
	}
	defer f.mu.Unlock()
	if time.Since(f.checked) < age {
		return
	}
	f.checked = time.Now()
	f.err = f.reload()
}

func (f *KeyFile) reload() error {
	content, stamp, err := readKeyFile(f.path)
	if err != nil || stamp == f.stamp {
		return err
	}
	keys, err := content.parse(f.path)
	if err != nil {
		return err
	}
	f.stamp = stamp
	f.ring.Set(keys[0], keys[1:]...)
	return nil
}

func readKeyFile(path string) (keyFileContent, fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return keyFileContent{}, fileStamp{}, fmt.Errorf("checkpoint keys: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return keyFileContent{}, fileStamp{}, fmt.Errorf(
			"checkpoint keys: %s has mode %#o, others can read it: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	if info.Size() > maxKeyFile {
		return keyFileContent{}, fileStamp{}, fmt.Errorf("checkpoint keys: %s has %d bytes, at most %d", path, info.Size(), maxKeyFile)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return keyFileContent{}, fileStamp{}, fmt.Errorf("checkpoint keys: %w", err)
	}
	var content keyFileContent
	if err := json.Unmarshal(raw, &content); err != nil {
		return keyFileContent{}, fileStamp{}, fmt.Errorf("checkpoint keys: %s: %w", path, err)
	}
	return content, fileStamp{modified: info.ModTime(), size: info.Size()}, nil
}

func (c keyFileContent) parse(path string) ([]Key, error) {
	if c.Schema != keyFileSchema {
		return nil, fmt.Errorf("checkpoint keys: %s: schema is %q, want %q", path, c.Schema, keyFileSchema)
	}
	if len(c.Keys) == 0 || len(c.Keys) > maxFileKeys {
		return nil, fmt.Errorf("checkpoint keys: %s: holds %d keys, want 1 to %d", path, len(c.Keys), maxFileKeys)
	}
	keys := make([]Key, 0, len(c.Keys))
	for i, entry := range c.Keys {
		key, err := NewKey(entry.Secret)
		if err != nil {
			return nil, fmt.Errorf("%s: keys[%d]: %w", path, i, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// RotateKeyFile makes a new key the current one in the file at path, and keeps
// the newest keepOlder of those that were there. A file that does not exist is
// created with one key. The file is replaced in one rename; it returns the new
// key's id.
func RotateKeyFile(path string, keepOlder int) (KeyID, error) {
	content, _, err := readKeyFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	secret := make([]byte, KeySize)
	rand.Read(secret)
	key, err := NewKey(secret)
	if err != nil {
		return 0, err
	}
	older := content.Keys[:min(max(keepOlder, 0), len(content.Keys))]
	content.Schema = keyFileSchema
	content.Keys = append([]keyFileEntry{{Secret: secret, Created: time.Now().UTC().Truncate(time.Second)}}, older...)
	return key.id, writeKeyFile(path, content)
}

func writeKeyFile(path string, content keyFileContent) error {
	raw, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return fmt.Errorf("checkpoint keys: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // mode 0600
	if err != nil {
		return fmt.Errorf("checkpoint keys: %w", err)
	}
	defer os.Remove(tmp.Name()) // no-op after the rename
	_, werr := tmp.Write(append(raw, '\n'))
	if err := errors.Join(werr, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("checkpoint keys: write: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("checkpoint keys: %w", err)
	}
	return nil
}
