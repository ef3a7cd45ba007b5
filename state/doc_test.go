// SPDX-License-Identifier: Apache-2.0

package state

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedExamples: the page shows records that this code reads, of every
// kind but the one that is empty in a calm cluster.
func TestDocumentedExamples(t *testing.T) {
	page, err := os.ReadFile("../docs/formats/etcd.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, block := range strings.Split(string(page), "\n```")[1:] {
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, Root) || strings.HasPrefix(line, "{") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	missing := map[Kind]bool{}
	for _, kind := range []Kind{
		KindAgent, KindCluster, KindConn, KindCookie, KindEvent, KindFailure, KindHeartbeat, KindLeader, KindLocality, KindNode, KindSeen, KindLoad, KindService, KindSlots,
	} {
		missing[kind] = true
	}
	for i := 0; i+1 < len(lines); i += 2 {
		key, err := ParseKey(lines[i])
		if err != nil {
			t.Error(err)
			continue
		}
		delete(missing, key.Kind)
		if strings.HasSuffix(lines[i+1], "…") {
			continue
		}
		if _, err := decode(key, []byte(lines[i+1])); err != nil {
			t.Errorf("%s: %v", lines[i], err)
		}
	}
	if len(missing) > 0 {
		t.Errorf("the page does not show %v", missing)
	}
}
