// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/ovs/ovstest"
)

// lines sorts the lines of a dump, without surrounding space and headers.
func lines(dump string) []string {
	var out []string
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "OFPST_") {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// testText installs a pipeline and compares its text with what ovs-ofctl
// prints, by numbers and by names.
func testText(t *testing.T, f *fixture, s *ovs.Session) {
	f.sw.Vsctl(t, "add-port", "br0", "t1", "--", "set", "interface", "t1", "type=internal")
	f.sw.Vsctl(t, "add-port", "br0", "1-odd", "--", "set", "interface", "1-odd", "type=internal")
	ovstest.WaitFor(t, "the ports", func() bool { return len(s.Ports()) == 7 })
	intent := f.intent()
	intent.Trunks = []string{"t1", "1-odd"}
	intent.Members = append(intent.Members, ovs.Member{ID: 9, Name: "far", MAC: [6]byte{2, 0, 0, 0, 0, 9}})
	if _, err := s.Apply(t.Context(), ovs.Build(intent, s.Ports())); err != nil {
		t.Fatal(err)
	}
	installed, err := s.Installed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byNumber := f.sw.Ofctl(t, "dump-groups", "br0") + f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0")
	if diff := cmp.Diff(lines(byNumber), lines(installed.String())); diff != "" {
		t.Errorf("by number (-ovs-ofctl +ours):\n%s", diff)
	}
	byName := f.sw.Ofctl(t, "--names", "dump-groups", "br0") + f.sw.Ofctl(t, "--names", "--no-stats", "dump-flows", "br0")
	if diff := cmp.Diff(lines(byName), lines(installed.Text(s.Ports()))); diff != "" {
		t.Errorf("by name (-ovs-ofctl +ours):\n%s", diff)
	}
}
