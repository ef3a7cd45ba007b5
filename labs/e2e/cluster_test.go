// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The two labs that the tests share.
var (
	// quickstart is lab 01 as users get it.
	quickstart = &lab{}
	// variant differs in the weights (n4 has twice the others'), has SSH as a
	// second service, and an etcd that is not inside of the controller.
	variant = &lab{change: changeVariant}
)

var (
	nodes    = []string{"n1", "n2", "n3", "n4"}
	families = []family{
		{name: "IPv4", vip: "10.77.0.1", from: "10.77.1.1"},
		{name: "IPv6", vip: "[fd77::1]", from: "fd77::1:1"},
	}
)

// family is how a client reaches the service.
type family struct {
	name string
	vip  string // as in a URL
	from string // the first of 64 client addresses
}

func (f family) url(path string) string { return "http://" + f.vip + path }

// requests are the helper's flags for so many requests from 64 addresses.
func (f family) requests(count int, more ...string) []string {
	return append([]string{"-vip", f.vip + ":80", "-from", f.from, "-froms", "64", "-n", fmt.Sprint(count)}, more...)
}

// servicesView is what onevip services -o json says.
type servicesView struct {
	Services []struct {
		Name    string
		Adopted int
		Active  int
		Nodes   []struct {
			Node    string
			Active  int
			Adopted int
		}
	}
}

// web gives the adoptions of the service web, in all and by node, and its
// active connections.
func (l *lab) web(t *testing.T) (adopted, active int) {
	t.Helper()
	var view servicesView
	if err := l.show("services", &view); err != nil {
		t.Fatal(err)
	}
	for _, s := range view.Services {
		if s.Name == "web" {
			return s.Adopted, s.Active
		}
	}
	t.Fatalf("no service web in %+v", view)
	return 0, 0
}

// checkShares compares who answered how often with what each node should have,
// within a tenth.
func checkShares(t *testing.T, answers, want map[string]int) {
	t.Helper()
	for _, node := range slices.Sorted(maps.Keys(want)) {
		if got := answers[node]; 10*got < 9*want[node] || 10*got > 11*want[node] {
			t.Errorf("%s answered %d requests, want %d within a tenth; all: %v", node, got, want[node], answers)
		}
	}
}

// changeVariant edits the copies of lab 01 and of the common files in dir.
func changeVariant(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	err = edit(filepath.Join(dir, "01-quickstart", "cluster.yaml"),
		"  listen: http://172.31.77.2:2379", "  endpoints: [http://172.31.77.2:2379]",
		"{name: n4, switch: sw, port: n4}", "{name: n4, switch: sw, port: n4, weight: 2}",
		"services:\n", "services:\n  - {name: ssh, vips: [10.77.0.1, fd77::1], port: 22}\n",
	)
	if err != nil {
		return err
	}
	if err := addSSH(dir); err != nil {
		return err
	}
	return addEtcd(dir, self)
}

// addEtcd gives the controller's host an etcd of its own, a part that a fault
// may kill or pause.
func addEtcd(dir, self string) error {
	script := fmt.Sprintf(`set -eu
sh "$(dirname "$0")/held.sh" etcd
echo $$ >"$ONEVIP_RUN/etcd.pid"
exec %s helper etcd -listen http://172.31.77.2:2379 -data "$ONEVIP_DATA/etcd" >"$ONEVIP_RUN/etcd.log" 2>&1
`, self)
	if err := os.WriteFile(filepath.Join(dir, "common", "etcd.sh"), []byte(script), 0o600); err != nil {
		return err
	}
	err := edit(filepath.Join(dir, "01-quickstart", "topology.clab.yml"),
		"        onevip.role: controller\n", "        onevip.role: controller\n        onevip.part.etcd: sh /common/etcd.sh\n")
	if err != nil {
		return err
	}
	return edit(filepath.Join(dir, "common", "controller.sh"),
		"exec onevip controller", "[ -e \"$run/etcd.pid\" ] || sh \"$(dirname \"$0\")/etcd.sh\" &\nexec onevip controller")
}

// addSSH lets each node of the lab in dir run an sshd, all with the same host
// key, as it must be behind one address.
func addSSH(dir string) error {
	for _, key := range []string{"host_key", "client_key"} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ssh-keygen: %w\n%s", err, out)
		}
	}
	config := fmt.Sprintf("HostKey %[1]s/host_key\nAuthorizedKeysFile %[1]s/client_key.pub\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PermitRootLogin prohibit-password\nPasswordAuthentication no\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(config), 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where sshd drops its privileges
		return err
	}
	return edit(filepath.Join(dir, "common", "node.sh"),
		`sh "$common/agent.sh" &`, fmt.Sprintf("/usr/sbin/sshd -D -f %s/sshd_config &\nsh \"$common/agent.sh\" &", dir))
}

// edit replaces old by new in a file; each old must be there.
func edit(path string, oldNew ...string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(oldNew); i += 2 {
		if !bytes.Contains(text, []byte(oldNew[i])) {
			return fmt.Errorf("%s has no %q to replace", path, oldNew[i])
		}
	}
	return os.WriteFile(path, []byte(strings.NewReplacer(oldNew...).Replace(string(text))), 0o755)
}

// awaitLoneDownloads waits until the cluster knows that busy has so many active
// connections and nobody else has any.
func (l *lab) awaitLoneDownloads(t *testing.T, busy string, want int) {
	t.Helper()
	eventually(t, patience, func() error {
		var view servicesView
		if err := l.show("services", &view); err != nil {
			return err
		}
		for _, service := range view.Services {
			for _, n := range service.Nodes {
				if service.Name == "web" && n.Node == busy && n.Active != want || n.Node != busy && n.Active > 0 {
					return fmt.Errorf("%s has %d active connections of %s", n.Node, n.Active, service.Name)
				}
			}
		}
		return nil
	})
}

// file is the path of a file in the lab's edited folder.
func (l *lab) file(name string) string { return filepath.Join(l.dir, name) }
