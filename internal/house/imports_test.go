// SPDX-License-Identifier: Apache-2.0

package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/onevip/onevip/"

// mayImport is the house plan: a folder at the left may import those at the
// right, and itself, of this module. What is not listed imports nothing of ours.
//
//	cmd -> {controller, nodeagent, labs} -> {ovs, bpf, scheduler, state} -> topology
var mayImport = map[string][]string{
	"cmd":        {"controller", "nodeagent", "labs", "ovs", "bpf", "scheduler", "state", "checkpoint", "topology"},
	"controller": {"ovs", "bpf", "scheduler", "state", "checkpoint", "topology"},
	"nodeagent":  {"ovs", "bpf", "scheduler", "state", "checkpoint", "topology"},
	"labs":       {"ovs", "bpf", "scheduler", "state", "checkpoint", "topology"},
	"ovs":        {"topology"},
	"bpf":        {"topology"},
	"scheduler":  {"topology"},
	"state":      {"topology"},
	"checkpoint": {}, // usable with no other part of onevip
	"topology":   {},
}

// testsMayImport is what only tests may import besides.
var testsMayImport = map[string][]string{
	"bpf":      {"scheduler"},                                    // the oracle that the eBPF is compared with
	"internal": {"controller", "scheduler", "state", "topology"}, // whose decisions the model drives
}

// fences are foreign modules that one folder only may use, tests included.
var fences = map[string]string{
	"github.com/contiv/libOpenflow":          "ovs",
	"github.com/digitalocean/go-openvswitch": "ovs",
	"github.com/cilium/ebpf":                 "bpf",
	"go.etcd.io/etcd":                        "state",
	"github.com/spf13/viper":                 "cmd",
	"github.com/spf13/cobra":                 "cmd",
}

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// folder is the first one below the module's root.
func (p goPackage) folder() string { return folderOf(p.ImportPath) }

func folderOf(importPath string) string {
	folder, _, _ := strings.Cut(strings.TrimPrefix(importPath, module), "/")
	return folder
}

func listPackages(t *testing.T) (packages []goPackage) {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, p)
	}
}

// wrongImports says which of imports a package in folder may not have.
func wrongImports(folder string, imports, allowed []string) (wrong []string) {
	for _, path := range imports {
		if owner, fenced := fenceOf(path); fenced && owner != folder {
			wrong = append(wrong, path+" (only "+owner+" may)")
		}
		if !strings.HasPrefix(path, module) || folderOf(path) == folder {
			continue
		}
		if !slices.Contains(allowed, folderOf(path)) {
			wrong = append(wrong, path)
		}
	}
	return wrong
}

func fenceOf(importPath string) (owner string, fenced bool) {
	for prefix, owner := range fences {
		if importPath == prefix || strings.HasPrefix(importPath, prefix+"/") {
			return owner, true
		}
	}
	return "", false
}

func TestImportDirections(t *testing.T) {
	packages := listPackages(t)
	for _, p := range packages {
		folder := p.folder()
		for _, wrong := range wrongImports(folder, p.Imports, mayImport[folder]) {
			t.Errorf("%s imports %s", p.ImportPath, wrong)
		}
		allowed := slices.Concat(mayImport[folder], testsMayImport[folder])
		for _, wrong := range wrongImports(folder, slices.Concat(p.TestImports, p.XTestImports), allowed) {
			t.Errorf("a test of %s imports %s", p.ImportPath, wrong)
		}
	}
	for folder := range mayImport {
		if !slices.ContainsFunc(packages, func(p goPackage) bool { return p.folder() == folder }) {
			t.Errorf("the plan has a folder %s, the tree has none", folder)
		}
	}
}

func TestWrongImports(t *testing.T) {
	tests := []struct {
		name, folder string
		imports      []string
		want         []string
	}{
		{"down", "ovs", []string{module + "topology", "fmt"}, nil},
		{"inside", "labs", []string{module + "labs/e2e"}, nil},
		{"sideways", "ovs", []string{module + "state"}, []string{module + "state"}},
		{"up", "topology", []string{module + "state"}, []string{module + "state"}},
		{"alone", "checkpoint", []string{module + "topology"}, []string{module + "topology"}},
		{"not in the plan", "misc", []string{module + "topology"}, []string{module + "topology"}},
		{"fence", "state", []string{"github.com/cilium/ebpf/link"}, []string{"github.com/cilium/ebpf/link (only bpf may)"}},
		{"owner of the fence", "bpf", []string{"github.com/cilium/ebpf/link"}, nil},
		{"only named alike", "state", []string{"github.com/cilium/ebpfx"}, nil},
	}
	for _, tt := range tests {
		if got := wrongImports(tt.folder, tt.imports, mayImport[tt.folder]); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
