// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/topology"
)

func TestTranslate(t *testing.T) {
	node := topology.LabNode{Binds: []topology.Bind{
		{Source: ".", Target: "/lab"}, {Source: "cluster.yaml", Target: "/lab/etc/c.yaml"}, {Source: "/sys/fs/bpf", Target: "/sys/fs/bpf/"},
	}}
	binds := bindsOf(node, "/srv/my lab")
	tests := []struct{ word, want string }{
		{"/lab", "/srv/my lab"},
		{"/lab/node.sh", "/srv/my lab/node.sh"},
		{"/lab/etc/c.yaml", "/srv/my lab/cluster.yaml"},
		{"/laboratory", "/laboratory"},
		{"/sys/fs/bpf/x", "/sys/fs/bpf/x"},
		{"cat /lab/x", "cat /lab/x"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := translate(tt.word, binds); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.word, got, tt.want)
		}
	}
}

func TestPlan(t *testing.T) {
	s, err := open("testdata/pair")
	if err != nil {
		t.Fatal(err)
	}
	r, err := plan(s, Options{Lab: "testdata/pair", Instance: "mine", Env: map[string]string{"ORIGIN": "--cache 1MiB", "LANG": "C"}})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Hosts[0]
	if a.Name != "a" || a.Namespace != "ov-mine-a" || a.Dir != "/run/onevip/labs/mine/hosts/a" || a.Pins != "/sys/fs/bpf/onevip/mine-a" {
		t.Errorf("host %+v", a)
	}
	for _, want := range []string{
		"GREETING=hello world", "OWN=" + r.Folder + "/server.sh", "CLAB_INTFS=1", "ONEVIP_HOST=a", "ONEVIP_LAB=mine",
		"ONEVIP_RUN=" + a.Dir, "ONEVIP_PIN_DIR=" + a.Pins, "CLAB_LABEL_ONEVIP_FILES=small=1000 large=1000000",
	} {
		if !slices.Contains(a.Env, want) {
			t.Errorf("no variable %s in %q", want, a.Env)
		}
	}
	if last := a.Env[len(a.Env)-2:]; !slices.Equal(last, []string{"LANG=C", "ORIGIN=--cache 1MiB"}) {
		t.Errorf("the variables end with %q: others would win", last)
	}
	if diff := cmp.Diff([]string{"sh", r.Folder + "/server.sh"}, r.Hosts[1].Command); diff != "" {
		t.Errorf("command (-want +got)\n%s", diff)
	}
	if _, err := plan(s, Options{Instance: "../x"}); err == nil {
		t.Error("a name that leaves the folder is accepted")
	}
	const unknown = "services[0].locality.kee: can't be set from outside the file; write services[0].locality.key"
	if _, err := plan(s, Options{Set: map[string]string{"services[0].locality.kee": "path"}}); err == nil || err.Error() != unknown {
		t.Errorf("error %v, want %s", err, unknown)
	}
	set := map[string]string{"services[0].locality.key": "host+path"}
	if r, err = plan(s, Options{Set: set}); err != nil || !slices.Contains(r.Hosts[0].Env, "ONEVIP_SERVICES_0_LOCALITY_KEY=host+path") {
		t.Errorf("error %v, or no variable of %v", err, set)
	}
}

func TestOpenErrors(t *testing.T) {
	known := strings.Join(availableNames(), ", ")
	tests := []struct{ lab, want string }{
		{"02-none", `there is no lab "02-none"; write the path of a .clab.yml file, or one of: ` + known},
		{"testdata", "read lab testdata/topology.clab.yml: open topology.clab.yml: no such file or directory"},
		{"../../etc", `there is no lab "../../etc"; write the path of a .clab.yml file, or one of: ` + known},
	}
	for _, tt := range tests {
		if _, err := open(tt.lab); err == nil || err.Error() != tt.want {
			t.Errorf("%s: error %v, want %s", tt.lab, err, tt.want)
		}
	}
}

// Neither a name nor what looks like one leads out of the labs' folder.
func TestFindRefusesOddNames(t *testing.T) {
	for _, name := range []string{".", "..", "/", "a b", "../../etc"} {
		if _, err := Find(name); !errors.Is(err, ErrNotUp) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Lab 01 is a contract that others script against.
func TestQuickstartContract(t *testing.T) {
	if !slices.ContainsFunc(Available(), func(d Description) bool { return d.Name == "01-quickstart" && d.Title != "" }) {
		t.Errorf("not among the labs: %+v", Available())
	}
	s, err := open("01-quickstart")
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(s.files, topologyFile)
	if err != nil || bytes.ContainsRune(text, '$') {
		t.Errorf("containerlab would expand a $ (error %v)", err)
	}
	var hosts []string
	for _, n := range s.lab.Nodes {
		hosts = append(hosts, n.Name)
	}
	if diff := cmp.Diff([]string{"client", "ctl", "n1", "n2", "n3", "n4", "sw"}, hosts); diff != "" {
		t.Errorf("hosts (-want +got)\n%s", diff)
	}
	web := clusterOf(t, s).Services[0]
	vips := []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")}
	if web.Name != "web" || web.Port != 80 || web.Policy != topology.LeastConnection || !slices.Equal(web.VIPs, vips) {
		t.Errorf("service %+v", web)
	}
}

func clusterOf(t *testing.T, s source, overrides ...topology.Override) topology.Cluster {
	t.Helper()
	data, err := fs.ReadFile(s.files, "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := topology.Parse("cluster.yaml", data, overrides...)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// What a lab's files say of its cables is so, and its hosts can be done harm to.
func TestShippedLabs(t *testing.T) {
	kinds := map[string][]FaultKind{
		"server": {Crash, LinkDown, AgentKill}, "switch": {Crash, OVSRestart}, "controller": {Crash, ControllerKill},
	}
	for _, lab := range Available() {
		s, err := open(lab.Name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := plan(s, Options{Lab: lab.Name})
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range clusterOf(t, s).Nodes {
			port := topology.LabEndpoint{Node: string(node.Switch), Interface: node.Port}
			if !slices.ContainsFunc(r.ends(string(node.Name)), func(c cable) bool { return c.far == port }) {
				t.Errorf("%s: node %s is not at port %s", lab.Name, node.Name, port)
			}
		}
		for _, h := range r.Hosts {
			for _, kind := range kinds[h.Labels[roleLabel]] {
				if got := planned(r, h.Name, kind, FaultOptions{}); strings.Contains(got, " has no ") || strings.Contains(got, "no host") {
					t.Errorf("%s: %s of %s: %s", lab.Name, kind, h.Name, got)
				}
			}
		}
	}
}

func TestContents(t *testing.T) {
	r := &Running{Name: "x", Hosts: []Host{
		{Labels: map[string]string{filesLabel: "1k=1024 1m=1048576"}}, {Labels: map[string]string{filesLabel: "1k=1024"}}, {},
	}}
	got, err := r.contents()
	if diff := cmp.Diff(map[string]int64{"1k": 1024, "1m": 1048576}, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
	for _, bad := range []string{"a", "=1", "a=-1", "a=1k", "../a=1", "..=1", "a/b=1"} {
		r.Hosts[0].Labels[filesLabel] = bad
		if _, err := r.contents(); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// The content is the one that the scripts make with openssl.
func TestFill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	const size = 1<<20 + 7
	if err := writeContent(t.Context(), path, size); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || len(got) != size {
		t.Fatalf("%d bytes, error %v", len(got), err)
	}
	sum := sha256.Sum256(got)
	const want = "171bc658650384d9c84bad4446922f6f3ca392b9e316fa771a72dfd65ce82c6b"
	if hex.EncodeToString(sum[:]) != want {
		t.Errorf("sha256 %x, want %s", sum, want)
	}
}

func TestExitCode(t *testing.T) {
	tests := []struct {
		script string
		want   int
	}{{"exit 0", 0}, {"exit 9", 9}, {"kill -TERM $$", 143}}
	for _, tt := range tests {
		if got, err := exitCode(exec.Command("sh", "-c", tt.script).Run()); got != tt.want || err != nil {
			t.Errorf("%s: %d, error %v, want %d", tt.script, got, err, tt.want)
		}
	}
	if _, err := exitCode(os.ErrClosed); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("x", 30<<10)
	if err := os.WriteFile(path, []byte(long+"\na\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(path, 2); got != "b\nc" {
		t.Errorf("%q", got)
	}
	if got := tail(path, 9); len(got) > 16<<10 || !strings.HasSuffix(got, "a\nb\nc") {
		t.Errorf("%d bytes", len(got))
	}
}

func TestNotReadyErrorShowsLogs(t *testing.T) {
	err := &NotReadyError{Lab: "l", Probe: "a: curl x", Output: "refused", Hosts: []HostFailure{{"b", "exit status 1", "one\ntwo"}, {"c", "", "three"}}}
	const want = `lab l does not work: probe a: curl x: refused
host b, its command ended: exit status 1
  one
  two
host c, its command still ran
  three`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A process that has the number of another one is not taken for it.
func TestProcessIdentity(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p, err := processOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other := Process{PID: p.PID, Start: p.Start - 1}
	other.signal(9)
	if other.Alive() || !p.Alive() {
		t.Errorf("other alive %v, own alive %v", other.Alive(), p.Alive())
	}
	p.signal(9)
	if err := cmd.Wait(); err == nil || p.Alive() {
		t.Errorf("error %v, alive %v", err, p.Alive())
	}
	if (Process{}).Alive() {
		t.Error("no process is alive")
	}
}

// Scripts are read by the shell that they name; sh must not find a bashism that
// dash refuses, and none a carriage return.
func TestScriptsParse(t *testing.T) {
	scripts, err := fs.Glob(os.DirFS("."), "*/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts %v, error %v", scripts, err)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil || bytes.ContainsRune(text, '\r') {
			t.Errorf("%s: carriage return, or error %v", script, err)
		}
		shell := "sh"
		if bytes.HasPrefix(text, []byte("#!/bin/bash\n")) {
			shell = "bash"
		}
		if out, err := exec.Command(shell, "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

func TestSettingsAreVariables(t *testing.T) {
	got := settings(map[string]string{"speculation.delay": "off", "heartbeat.misses": "9"})
	want := []string{"ONEVIP_HEARTBEAT_MISSES=9", "ONEVIP_SPECULATION_DELAY=off"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
