// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/onevip/onevip/labs/workload"
)

// library is lab 03-locality: four nodes, none of which can hold all files. Its
// services bounded and sessions have little patience with clients that say nothing:
// one picks a node for them, the other resets them. An agent may be silent for five
// seconds.
var library = &lab{source: "03-locality", set: []string{
	"failure.grace=5s",
	"services[1].locality.silent.after=300ms",
	"services[2].locality.silent.after=300ms",
	"services[2].locality.silent.then=close",
}}

// sent is an answer as the lab's ask.sh tells it.
type sent struct {
	file, node, cache string
	bytes             int64
}

// ask has each file asked for by 16 clients of both families; header goes along,
// if there is one.
func (l *lab) ask(t *testing.T, port int, header string, files ...workload.File) (answers []sent) {
	t.Helper()
	var names strings.Builder
	for _, f := range files {
		fmt.Fprintln(&names, f.Name)
	}
	cmd := l.command(t.Context(), "client", "bash", "/lab/ask.sh", strconv.Itoa(port), header)
	cmd.Stdin = strings.NewReader(names.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ask.sh: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var a sent
		if _, err := fmt.Sscan(line, &a.file, &a.node, &a.cache, &a.bytes); err != nil {
			t.Fatalf("ask.sh says %q: %v", line, err)
		}
		a.file = a.file[strings.Index(a.file, "/download"):]
		answers = append(answers, a)
	}
	if want := 16 * len(files); len(answers) != want {
		t.Fatalf("%d answers, want %d", len(answers), want)
	}
	return answers
}

func libraryFiles(t *testing.T) []workload.File {
	t.Helper()
	set, err := workload.New(workload.Default)
	if err != nil {
		t.Fatal(err)
	}
	return set.Files()
}

// checkStays looks whether most of what has one key is sent by one node. On a busy
// machine the nodes hear of each other late, take one of them to have much to do or
// to be silent, and another helps out; by least connection a third would stay.
func checkStays(t *testing.T, answers []sent, key func(sent) string) (homes map[string]string) {
	t.Helper()
	counts := map[string]map[string]int{}
	for _, a := range answers {
		if counts[key(a)] == nil {
			counts[key(a)] = map[string]int{}
		}
		counts[key(a)][a.node]++
	}
	homes = map[string]string{}
	away := len(answers)
	for k, byNode := range counts {
		for node, n := range byNode {
			if homes[k] == "" || n > byNode[homes[k]] {
				homes[k] = node
			}
		}
		away -= byNode[homes[k]]
	}
	if 4*away > len(answers) {
		t.Errorf("of %d answers %d come from another node than most of their key: %v", len(answers), away, counts)
	}
	return homes
}

func checkSpread(t *testing.T, homes map[string]string) {
	t.Helper()
	nodes := map[string]int{}
	for _, node := range homes {
		nodes[node]++
	}
	if len(nodes) < 2 {
		t.Errorf("%d keys are on %v", len(homes), nodes)
	}
}

// A file is read from a disk once, by the node that sends it to all.
func TestFilesStayOnTheirNodes(t *testing.T) {
	library.use(t)
	files := libraryFiles(t)[:8]
	answers := library.ask(t, 80, "", files...)
	checkSpread(t, checkStays(t, answers, func(a sent) string { return a.file }))
	hits := 0
	for _, a := range answers {
		if a.cache == "hit" {
			hits++
		}
	}
	if 100*hits < 80*len(answers) {
		t.Errorf("%d of %d files were in memory", hits, len(answers))
	}
}

// Of a service with a header for its key, that header decides, not the file.
func TestSessionsStayOnTheirNodes(t *testing.T) {
	library.use(t)
	file := libraryFiles(t)[0]
	homes := map[string]string{}
	for i := range 6 {
		session := fmt.Sprint("session ", i)
		answers := library.ask(t, 82, "X-Session: "+session, file)
		homes[session] = checkStays(t, answers, func(sent) string { return session })[session]
	}
	checkSpread(t, homes)
}

// Bounded loads: whoever sends a file, all of it comes.
func TestBoundedHashServes(t *testing.T) {
	library.use(t)
	files := libraryFiles(t)[:4]
	sizes := map[string]int64{}
	for _, f := range files {
		sizes[f.Name] = f.Bytes
	}
	nodes := map[string]bool{}
	for _, a := range library.ask(t, 81, "", files...) {
		nodes[a.node] = true
		if a.bytes != sizes[a.file] {
			t.Errorf("%s sends %d bytes of %s, which has %d", a.node, a.bytes, a.file, sizes[a.file])
		}
	}
	if len(nodes) < 2 {
		t.Errorf("all is sent by %v", nodes)
	}
}

// A large file comes byte for byte, from memory and from the disk.
func TestLargeFileOfTheLibrary(t *testing.T) {
	library.use(t)
	all := libraryFiles(t)
	large := all[len(all)-1]
	want, err := io.ReadAll(large.Content())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for range 2 {
			got, err := library.command(t.Context(), "client", "curl", "-fsS", "--max-time", "20", f.url(large.Name)).Output()
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, or others than the %d of %s; error %v", f.name, len(got), len(want), large.Name, err)
			}
		}
	}
}
