// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func sampleJournal() *journal {
	return &journal{Schema: journalSchema, Boot: boot{ID: "x", Namespace: 7},
		Sysctls:   []changedSysctl{{Key: "net/ipv4/tcp_rfc1337", Was: "1", Made: "0"}},
		Addresses: []netip.Addr{vip4, vip6}, RaisedLo: true}
}

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "changes.json")
	if err := sampleJournal().save(path); err != nil {
		t.Fatal(err)
	}
	got, err := loadJournal(path, boot{ID: "x", Namespace: 7})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleJournal(), got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	other, err := loadJournal(path, boot{ID: "x", Namespace: 8})
	if err != nil || len(other.Sysctls)+len(other.Addresses) > 0 || other.Boot.Namespace != 8 {
		t.Errorf("in another namespace: %+v, %v, want an empty one", other, err)
	}
	if err := (&journal{}).save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a journal with nothing to restore is kept: %v", err)
	}
}

func TestJournalsThatCanNotBeRead(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"damaged", "{", "is damaged"},
		{"of a later version", `{"schema": 2, "boot": {"ID": "x", "Namespace": 7}}`, "has schema 2, want 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "changes.json")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := loadJournal(path, boot{ID: "x", Namespace: 7}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one that says %q", err, tt.want)
			}
		})
	}
}

func TestOneAgentANode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	release, err := lockRunDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockRunDir(dir); !errors.Is(err, errRunning) {
		t.Errorf("a second lock: %v, want %v", err, errRunning)
	}
	release()
	release, err = lockRunDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestConfigSaysWhatIsMissing(t *testing.T) {
	good := Config{Cluster: "lab", Node: "n1", Interface: "eth0", PinDir: "/sys/fs/bpf/x"}
	if err := good.check(); err != nil || good.RunDir != DefaultRunDir || good.Log == nil {
		t.Errorf("a good one: %v, %+v", err, good)
	}
	for want, spoil := range map[string]func(*Config){
		"no cluster":    func(c *Config) { c.Cluster = "" },
		"no node":       func(c *Config) { c.Node = "" },
		"no interface":  func(c *Config) { c.Interface = "" },
		"no pin folder": func(c *Config) { c.PinDir = "" },
	} {
		c := good
		spoil(&c)
		if err := c.check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}
