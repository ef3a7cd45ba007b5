// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// A gigabyte each way over IPv4, a quarter of that over IPv6: the bytes arrive
// as they were sent.
func TestGigabyteDownAndUp(t *testing.T) {
	quickstart.use(t)
	for i, f := range families {
		size := 1 << (30 - 2*i)
		want := sha256Of(quickstart.run(t, "n1", "bash", "-o", "pipefail", "-c", fmt.Sprintf("head -c %d $ONEVIP_FILES/1g | sha256sum", size)))
		t.Run(f.name+"/down", func(t *testing.T) {
			get := fmt.Sprintf("curl -fsS --max-time %.0f -r 0-%d %s | sha256sum", transferLimit.Seconds(), size-1, f.url("/1g"))
			if got := sha256Of(quickstart.run(t, "client", "bash", "-o", "pipefail", "-c", get)); got != want {
				t.Errorf("sha256 %s, want %s", got, want)
			}
		})
		t.Run(f.name+"/up", func(t *testing.T) { upload(t, f, size, want) })
	}
}

// upload uploads so many bytes of the file and finds them on one node, whole.
func upload(t *testing.T, f family, size int, want string) {
	name := "up-" + f.name
	put := fmt.Sprintf("head -c %d $ONEVIP_FILES/1g | curl -fsS --max-time %.0f -T - %s", size, transferLimit.Seconds(), f.url("/upload/"+name))
	quickstart.run(t, "client", "bash", "-o", "pipefail", "-c", put)
	for _, node := range nodes {
		out, err := quickstart.try(node, "sh", "-c", "sha256sum $ONEVIP_DATA/upload/"+name+" && rm $ONEVIP_DATA/upload/"+name)
		if err != nil {
			continue // another node has it
		}
		if got := sha256Of(out); got != want {
			t.Errorf("%s got sha256 %s, want %s", node, got, want)
		}
		return
	}
	t.Error("no node has the upload")
}

func sha256Of(out string) string { return strings.Fields(out + " none")[0] }

func TestH2load(t *testing.T) {
	quickstart.use(t)
	for _, f := range families {
		out := quickstart.run(t, "client", "h2load", "--h1", "-n", "5000", "-c", "50", f.url("/1k"))
		if !strings.Contains(out, "5000 succeeded, 0 failed, 0 errored, 0 timeout") {
			t.Errorf("%s: h2load:\n%s", f.name, out)
		}
	}
}

// Ten thousand connections that do nothing: all are still there, at the node
// that had them, when they speak again.
func TestTenThousandIdleConnections(t *testing.T) {
	quickstart.use(t)
	args := families[0].requests(10_000, "-parallel", "32")
	holder := quickstart.start(t, "client", helperCommand(t, "hold", args...)...)
	if line := holder.line(t); line != "held" {
		t.Fatalf("holder says %s", line)
	}
	eventually(t, 2*patience, func() error {
		if _, active := quickstart.web(t); active < 10_000 {
			return fmt.Errorf("the cluster counts %d active connections of 10000", active)
		}
		return nil
	})
	var again tally
	if err := json.Unmarshal([]byte(holder.finish(t)), &again); err != nil {
		t.Fatalf("holder: %v", err)
	}
	if again.Failed > 0 {
		t.Errorf("%d of 10000 failed when used again: %q", again.Failed, again.Errors)
	}
	checkShares(t, again.Answers, map[string]int{"n1": 2500, "n2": 2500, "n3": 2500, "n4": 2500})
}

// A client behind a NAT with few ports uses tuples again that are in TIME_WAIT.
func TestTwoHundredPorts(t *testing.T) {
	quickstart.use(t)
	old := quickstart.run(t, "client", "sysctl", "-n", "net.ipv4.ip_local_port_range")
	quickstart.run(t, "client", "sysctl", "-qw", "net.ipv4.ip_local_port_range=20000 20199")
	t.Cleanup(func() { quickstart.run(t, "client", "sysctl", "-qw", "net.ipv4.ip_local_port_range="+old) })

	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps="+timestamps, func(t *testing.T) {
			quickstart.setTimestamps(t, timestamps)
			before := quickstart.losses(t)
			done := quickstart.wrk(t, families[0], "/1k", "10s", "20")
			since := quickstart.losses(t).since(before)
			if done.errors != "" || since.unexplained() || done.slowest >= 900 && since.bySwitch == 0 {
				t.Errorf("in %d connections: wrk's errors %q, slowest %.0f ms; %v", done.requests, done.errors, done.slowest, since)
			}
			if done.requests < 2000 {
				t.Errorf("only %d requests: 200 ports were hardly used again", done.requests)
			}
		})
	}
}

// setTimestamps switches the client's TCP timestamps for one test.
func (l *lab) setTimestamps(t *testing.T, value string) {
	t.Helper()
	l.run(t, "client", "sysctl", "-qw", "net.ipv4.tcp_timestamps="+value)
	t.Cleanup(func() { l.run(t, "client", "sysctl", "-qw", "net.ipv4.tcp_timestamps=1") })
}

var scaled = regexp.MustCompile(`wscale:(\d+),(\d+)`)

// Without timestamps the cookie has no room for the window scale; the owner
// remembers it from the SYN.
func TestWithoutTimestampsWindowScalingIsKept(t *testing.T) {
	quickstart.use(t)
	quickstart.setTimestamps(t, "0")
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			download := quickstart.start(t, "client", "curl", "-s", "--limit-rate", "10M", "-o", "/dev/null", f.url("/1g"))
			filter := []string{"dst", f.vip}
			eventually(t, patience, func() error {
				out := quickstart.run(t, "client", append([]string{"ss", "-tinH", "state", "established"}, filter...)...)
				m := scaled.FindStringSubmatch(out)
				if m == nil || m[1] == "0" || strings.Contains(out, " ts ") {
					return fmt.Errorf("the client's socket says %q", out)
				}
				return nil
			})
			download.stop()
		})
	}
}

// SSH: the server speaks first, on a connection that it never saw a SYN of. No
// shell is started: the login only forwards a question to its node's nginx.
func TestSSH(t *testing.T) {
	variant.use(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			login := "ssh -F none -i " + variant.file("client_key") +
				" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes -o ConnectTimeout=5" +
				" -W 127.0.0.1:80 root@" + strings.Trim(f.vip, "[]")
			seen := map[string]int{}
			for range 8 {
				out := variant.run(t, "client", "sh", "-c", `printf 'GET /whoami HTTP/1.0\r\n\r\n' | `+login)
				lines := strings.Fields(out)
				seen[lines[len(lines)-1]]++
			}
			if len(seen) < 2 {
				t.Errorf("eight logins all reached the same node: %v", seen)
			}
		})
	}
}
