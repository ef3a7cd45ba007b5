// SPDX-License-Identifier: Apache-2.0

package state

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedExample: the page shows records that this code reads, of every
// kind but the one that is empty in a calm cluster.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../docs/formats/etcd.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "$ etcdctl get --prefix")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the page has no example")
	}
	missing := map[Kind]bool{}
	for _, kind := range []Kind{
		KindAgent, KindCluster, KindConn, KindCookie, KindEvent, KindFailure, KindHeartbeat, KindLeader, KindNode, KindLoad, KindService, KindSlots,
	} {
		missing[kind] = true
	}
	lines := strings.Split(strings.TrimSpace(example), "\n")[1:]
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
