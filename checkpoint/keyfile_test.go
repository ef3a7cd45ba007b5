// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKeyFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	first, err := RotateKeyFile(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, error %v; want 0600", info.Mode(), err)
	}
	f, err := OpenKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := RotateKeyFile(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	if f.Current().ID() != first {
		t.Error("the file was read again though it was just read")
	}
	f.checked = time.Time{} // as if long ago
	if _, ok := f.Lookup(second); !ok {
		t.Error("a key that another server uses already is not looked for in the file")
	}
	if f.Current().ID() != second {
		t.Error("the new key is not the current one")
	}
	if _, ok := f.Lookup(first); !ok {
		t.Error("the older key is not accepted any more")
	}
	third, err := RotateKeyFile(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.checked = time.Time{}
	if _, ok := f.Lookup(third); !ok {
		t.Error("the third key is unknown")
	}
	if _, ok := f.Lookup(first); ok {
		t.Error("a key that the file dropped is accepted")
	}
}

func TestKeyFileKeepsKeysWhileFileIsBad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	id, err := RotateKeyFile(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.checked = time.Time{}
	if f.Current().ID() != id || f.Err() == nil {
		t.Errorf("key %s, error %v; want the old key and an error", f.Current().ID(), f.Err())
	}
}

func TestKeyFileErrorsSayWhatToDo(t *testing.T) {
	cases := []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"readable by all", `{}`, 0o644, "chmod 600"},
		{"no JSON", `keys`, 0o600, "invalid character"},
		{"another schema", `{"schema":"x"}`, 0o600, `want "onevip.checkpoint.keys/1"`},
		{"no keys", `{"schema":"onevip.checkpoint.keys/1","keys":[]}`, 0o600, "want 1 to 64"},
		{"short key", `{"schema":"onevip.checkpoint.keys/1","keys":[{"secret":"AAAA"}]}`, 0o600, "keys[0]: checkpoint key: secret has 3 bytes, want 32"},
		{"too large", `{"x":"` + strings.Repeat("x", maxKeyFile) + `"}`, 0o600, "at most 65536"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := OpenKeyFile(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q and the path", err, c.want)
			}
		})
	}
	if _, err := OpenKeyFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that does not exist is opened")
	}
}
