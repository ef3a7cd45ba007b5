// SPDX-License-Identifier: Apache-2.0

package house

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// fileName finds what a page names as a file of the tree: `ovs/cluster.go`,
// `cookie.h`.
var fileName = regexp.MustCompile("`([a-z][A-Za-z0-9_./-]*\\.(?:go|h|bpf\\.c|md|yaml|yml|sh))`")

// shortNames are folders whose files a page may name without the folder, once
// it said where it is.
var shortNames = []string{"", "bpf/src", "controller", "nodeagent", "cmd/onevip"}

func TestPagesNameFilesThatExist(t *testing.T) {
	for _, page := range []string{"README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md", "docs/operations.md"} {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range fileName.FindAllStringSubmatch(string(text), -1) {
			if !exists(match[1]) {
				t.Errorf("%s names %s, which is not in the tree", page, match[1])
			}
		}
	}
}

func exists(name string) bool {
	for _, folder := range shortNames {
		if _, err := os.Stat(filepath.Join(root, folder, name)); err == nil {
			return true
		}
	}
	return false
}
