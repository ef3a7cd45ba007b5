// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// A connection is made, and its first request decides who gets it: tools as they
// come notice nothing of that.
func TestToolsThroughLocality(t *testing.T) {
	library.use(t)
	library.unviolated(t)
	const file = "/download/dir00003/2-0" // 32 768 bytes
	for _, f := range families {
		for _, port := range []int{webPort, boundedPort, sessionPort} {
			url := "http://" + f.at(port)
			if out := library.run(t, "client", "curl", "-fsS", "--max-time", "10", "-o", "/dev/null", "-w", "%{size_download}", url+file); out != "32768" {
				t.Errorf("curl got %s bytes from %s", out, url)
			}
		}
		t.Run(f.name+"/curl that expects 100", func(t *testing.T) { expectContinue(t, "http://"+f.at(webPort)) })
		t.Run(f.name+"/h2load", func(t *testing.T) {
			out := library.run(t, "client", "h2load", "--h1", "-n", "1000", "-c", "20", f.url(file))
			if !strings.Contains(out, "1000 succeeded, 0 failed, 0 errored, 0 timeout") {
				t.Errorf("h2load:\n%s", out)
			}
		})
	}
	url := families[0].url(file)
	for _, more := range []string{"Connection: close", "X-Kept: alive"} {
		t.Run("wrk, "+more, func(t *testing.T) {
			out := library.run(t, "client", "wrk", "-t1", "-c", "8", "-d", "1s", "-H", more, url)
			if done, err := parseWrk(out); err != nil || done.errors != "" || done.requests < 10 {
				t.Errorf("wrk: %v\n%s", err, out)
			}
		})
	}
	t.Run("ab", func(t *testing.T) { apacheBench(t, url) })
	t.Run("chromium", browse)
}

// expectContinue sends a head, and the body once the server has said 100.
func expectContinue(t *testing.T, url string) {
	script := `head -c 100000 /dev/urandom >$1 && curl -fsSv --max-time 10 -H "Expect: 100-continue" --data-binary @$1 $2/echo/x 2>$1.log | cmp - $1 && grep -c "100 Continue" $1.log`
	name := fmt.Sprintf("/tmp/onevip-e2e-%d", os.Getpid())
	t.Cleanup(func() { os.Remove(name); os.Remove(name + ".log") })
	if out := library.run(t, "client", "bash", "-o", "pipefail", "-c", script, "sh", name, url); out != "1" {
		t.Errorf("%s times 100 Continue", out)
	}
}

func apacheBench(t *testing.T, url string) {
	if _, err := exec.LookPath("ab"); err != nil {
		t.Skip("ab is missing: make deps")
	}
	for _, flags := range []string{"-n500 -c10", "-n500 -c10 -k"} {
		out := library.run(t, "client", append(append([]string{"ab", "-q"}, strings.Fields(flags)...), url)...)
		if !strings.Contains(out, "Complete requests:      500") || !strings.Contains(out, "Failed requests:        0") {
			t.Errorf("ab %s:\n%s", flags, out)
		}
	}
}

// browse loads a page in a real browser.
func browse(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is missing, and too large to be asked for")
	}
	profile := t.TempDir()
	out := library.run(t, "client", browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
		"--user-data-dir="+profile, "--dump-dom", "http://"+families[0].at(webPort)+"/whoami")
	if !strings.Contains(out, ">n") {
		t.Errorf("the page is %s", out)
	}
}

// Requests that are cut anywhere, sent all at once or in turns: the answers are
// right to the byte, and each connection stays with one node, of one adoption.
func TestRequestsInPieces(t *testing.T) {
	library.use(t)
	library.unviolated(t)
	for i, f := range families {
		t.Run(f.name, func(t *testing.T) {
			before := library.settledAdoptions(t)
			got := library.tallied(t, "splits", f.clients(webPort, 300, "-parallel", "16", "-seed", fmt.Sprint(i+1))...)
			if adopted := library.settledAdoptions(t) - before; adopted != 300 {
				t.Errorf("%d adoptions of 300 connections", adopted)
			}
			if len(got.Answers) < 4 {
				t.Errorf("only %v answered", names(got.Answers))
			}
		})
	}
}

// The same, ten thousand times, and with another seed each time.
func TestSoakRequestsInPieces(t *testing.T) {
	if os.Getenv("ONEVIP_SOAK") == "" {
		t.Skip("takes minutes: make soak")
	}
	library.use(t)
	library.unviolated(t)
	seed := fmt.Sprint(time.Now().UnixNano())
	for _, port := range []int{webPort, boundedPort} {
		library.tallied(t, "splits", families[0].clients(port, 5000, "-parallel", "16", "-seed", seed)...)
	}
}

// At low load a path is one node's, whoever asks and from wherever, and paths are
// spread over the nodes. A few may go elsewhere: a node that a busy machine holds up
// is not picked for a moment.
func TestPathStaysWithItsNode(t *testing.T) {
	library.use(t)
	library.unviolated(t)
	for _, f := range families {
		for key := range 4 {
			path := fmt.Sprintf("/whoami/%s-%d", f.name, key)
			got := library.tallied(t, "rate", f.clients(webPort, 64, "-rate", "100", "-path", path)...)
			if most := slices.Max(slices.Collect(maps.Values(got.Answers))); most < 58 {
				t.Errorf("%s: %v answered for %s", f.name, got.Answers, path)
			}
		}
		got := library.tallied(t, "rate", f.clients(webPort, 100, "-rate", "100", "-keys", "50")...)
		if len(got.Answers) != 4 {
			t.Errorf("%s: only %v answered for 50 paths", f.name, names(got.Answers))
		}
	}
}

// What all want at once gets more nodes: by LARD once a node has much to do, by
// bounded loads as soon as it would have more than 1.25 times the average.
func TestHotPathSpreads(t *testing.T) {
	library.use(t)
	library.unviolated(t)
	for port, most := range map[int]int{webPort: 400, boundedPort: 140} { // a node's, of 400
		holder := library.start(t, "client", helperCommand(t, "hold", families[0].clients(port, 400, "-path", "/whoami/hot")...)...)
		if line := holder.line(t); line != "held" {
			t.Fatalf("holder says %s", line)
		}
		got := holder.finishTally(t)
		if got.Failed > 0 || len(got.Answers) != 4 || slices.Max(slices.Collect(maps.Values(got.Answers))) > most {
			t.Errorf("port %d: 400 connections for one path: %v, %d failed: %q", port, got.Answers, got.Failed, got.Errors)
		}
	}
}

// Packets are lost, come twice, and overtake each other, on their way to the
// switch, from there to each node by itself, and back. Each connection has one owner
// all the same, and each byte is right. With timestamps and without: then a cookie
// has no room for the client's options.
func TestLocalityOnABadNetwork(t *testing.T) {
	library.use(t)
	library.unviolated(t)
	before := library.settledAdoptions(t)
	opened := library.counters(t, "client")["TcpActiveOpens"]
	for _, host := range append([]string{"client"}, nodes...) {
		library.fault(t, host, "loss", "--loss", "3")
		library.fault(t, host, "shuffle", "--loss", "20", "--delay", "20ms")
	}
	for _, node := range nodes {
		library.fault(t, node, "copy-loss", "--loss", "3")
	}
	for i, timestamps := range []string{"1", "0"} {
		library.setTimestamps(t, timestamps)
		got := library.tallied(t, "splits", families[i].clients(webPort, 150, "-parallel", "48", "-seed", "7")...)
		t.Logf("timestamps %s: %v, slowest %v", timestamps, got.Answers, got.Slowest.Round(time.Millisecond))
	}
	opened = library.counters(t, "client")["TcpActiveOpens"] - opened
	for _, host := range append([]string{"client"}, nodes...) {
		library.heal(t, host)
	}
	eventually(t, calm, library.healthy)
	if adopted := library.settledAdoptions(t) - before; adopted != opened {
		t.Errorf("%d adoptions of %d connections", adopted, opened)
	}
}

// A client that connects and says nothing gets a node all the same, after a while,
// or is told that nobody waits for it.
func TestSilentClients(t *testing.T) {
	library.use(t)
	library.unviolated(t)
	for _, f := range families {
		t.Run(f.name+"/least connection", func(t *testing.T) {
			before, _ := library.adoptions(t, "bounded")
			silent := library.start(t, "client", helperCommand(t, "silent", f.clients(boundedPort, 40, "-path", "/whoami")...)...)
			if line := silent.line(t); line != "open" {
				t.Fatalf("silent says %q", line)
			}
			eventually(t, patience, func() error {
				if now, _ := library.adoptions(t, "bounded"); now-before < 40 {
					return fmt.Errorf("%d of 40 silent clients have a node", now-before)
				}
				return nil
			})
			got := silent.finishTally(t)
			if got.Failed > 0 {
				t.Errorf("%d failed: %q", got.Failed, got.Errors)
			}
			if len(got.Answers) < 4 {
				t.Errorf("all went to %v", got.Answers)
			}
		})
		t.Run(f.name+"/close", func(t *testing.T) {
			got := library.tallied(t, "closed", f.clients(sessionPort, 10)...)
			t.Logf("reset within %v", got.Slowest.Round(time.Millisecond))
		})
	}
}

// A node's power fails that answers SYNs and inspects for a quarter of the clients,
// and owns a quarter of the connections. Who had connected by it and not asked yet
// is answered or reset; whose request it had handed over notices nothing; its own
// streams are reset.
func TestInspectorAndOwnerCrashes(t *testing.T) {
	s := raiseIn(t, library, "-keys", "64")
	waiting := s.start(t, "client", helperCommand(t, "silent", families[0].clients(webPort, 40, "-keys", "64")...)...)
	if line := waiting.line(t); line != "open" {
		t.Fatalf("silent says %q", line)
	}
	s.fault(t, "n2", "crash")
	asked := waiting.finishTally(t)
	for _, text := range asked.Errors {
		if !strings.Contains(text, "reset") {
			t.Errorf("a client that had connected before the crash: %s", text)
		}
	}
	t.Logf("of 40 that had connected, %v answered, %d were reset; slowest %v", asked.Answers, asked.Failed, asked.Slowest.Round(time.Millisecond))
	s.awaitNode(t, "n2", isFenced)
	s.heal(t, "n2")
	s.awaitBack(t, "n2")
	s.ends(t, "n2")
}
