// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onevip/onevip/topology"
)

// bind says where a path inside a host lies on this machine. Hosts share the
// machine's file system, so that no mount is needed: the path is replaced where
// a word of a command, or the value of a variable, begins with it. Text inside
// of a word, such as a script for sh -c, stays as it is; a script finds its
// neighbours by its own path, $(dirname "$0").
type bind struct {
	Source string `json:"source"` // absolute
	Target string `json:"target"`
}

// bindsOf makes the node's binds absolute, the longest targets first.
func bindsOf(node topology.LabNode, folder string) []bind {
	var binds []bind
	for _, b := range node.Binds {
		source := b.Source
		if !filepath.IsAbs(source) {
			source = filepath.Join(folder, source)
		}
		binds = append(binds, bind{Source: source, Target: strings.TrimRight(b.Target, "/")})
	}
	slices.SortFunc(binds, func(a, b bind) int { return cmp.Compare(len(b.Target), len(a.Target)) })
	return binds
}

// translate gives the path on this machine for one inside the host.
func translate(word string, binds []bind) string {
	for _, b := range binds {
		rest, ok := strings.CutPrefix(word, b.Target)
		if ok && (rest == "" || rest[0] == '/') {
			return b.Source + rest
		}
	}
	return word
}

func translateAll(words []string, binds []bind) []string {
	translated := make([]string, len(words))
	for i, w := range words {
		translated[i] = translate(w, binds)
	}
	return translated
}
