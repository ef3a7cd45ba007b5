// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/onevip/onevip/topology"
)

// plan says what a lab will consist of, before anything is made.
func plan(s source, o Options) (*Running, error) {
	for path := range o.Set {
		if err := topology.CheckPath(path); err != nil {
			return nil, err
		}
	}
	r := &Running{Name: s.lab.Name, Source: o.Lab, Folder: s.folder}
	if o.Instance != "" {
		r.Name = o.Instance
	}
	if !topology.ValidLabName(r.Name) {
		return nil, fmt.Errorf("%q is no name for a lab; write at most 30 of a-z, 0-9 and '-'", r.Name)
	}
	if r.Folder == "" {
		r.Folder = filepath.Join(r.Dir(), "lab")
	}
	r.Links = s.lab.Links
	for _, node := range s.lab.Nodes {
		host := r.planHost(node, s.lab)
		host.Env = append(host.Env, settings(o.Set)...)
		host.Env = append(host.Env, assignments(o.Env)...)
		r.Hosts = append(r.Hosts, host)
	}
	return r, nil
}

// settings are onevip's variables for settings of the cluster.
func settings(set map[string]string) (env []string) {
	for _, path := range slices.Sorted(maps.Keys(set)) {
		env = append(env, topology.EnvName(path)+"="+set[path])
	}
	return env
}

// assignments are variables with their values; of two the later one counts.
func assignments(env map[string]string) (words []string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		words = append(words, name+"="+env[name])
	}
	return words
}

func (r *Running) planHost(node topology.LabNode, lab topology.Lab) Host {
	h := Host{
		Name:      node.Name,
		Namespace: r.namespace(node.Name),
		Labels:    node.Labels,
		Binds:     bindsOf(node, r.Folder),
		Setup:     node.Exec,
		Dir:       filepath.Join(r.Dir(), "hosts", node.Name),
		Data:      filepath.Join(r.data(), "hosts", node.Name),
		Pins:      filepath.Join(pinRoot, r.Name+"-"+node.Name),
	}
	h.Command = translateAll(node.Cmd, h.Binds)
	h.Env = r.environment(h, node, linksOf(node.Name, lab))
	return h
}

// roleLabel is how a lab's file says what a host is.
const roleLabel = "onevip.role"

// namespace is the name of a host's namespace.
func (r *Running) namespace(host string) string { return "ov-" + r.Name + "-" + host }

func linksOf(host string, lab topology.Lab) int {
	n := 0
	for _, l := range lab.Links {
		for _, end := range []topology.LabEndpoint{l.A, l.B} {
			if end.Node == host {
				n++
			}
		}
	}
	return n
}

// environment is what containerlab sets, what the lab's file sets, and what a
// host must know to share this machine's file system with the others.
func (r *Running) environment(h Host, node topology.LabNode, links int) []string {
	env := map[string]string{
		"PATH":        filepath.Join(r.Dir(), "bin") + ":" + hostPath(),
		"HOME":        "/root",
		"LANG":        "C.UTF-8",
		"CLAB_INTFS":  fmt.Sprint(links),
		"OVS_RUNDIR":  h.Dir,
		"OVS_LOGDIR":  h.Dir,
		"OVS_DBDIR":   h.Dir,
		"ONEVIP_LAB":  r.Name,
		"ONEVIP_HOST": h.Name,
		"ONEVIP_RUN":  h.Dir,
		// Not in containerlab: there each host has its own file system.
		"ONEVIP_DATA":    h.Data,
		"ONEVIP_FILES":   r.filesDir(),
		"ONEVIP_PIN_DIR": h.Pins,
	}
	for label, value := range node.Labels {
		env["CLAB_LABEL_"+envWord(label)] = value
	}
	for name, value := range node.Env {
		env[name] = translate(value, h.Binds)
	}
	return assignments(env)
}

// hostPath is this machine's PATH with the places of root's tools.
func hostPath() string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if own := os.Getenv("PATH"); own != "" {
		path = own + ":" + path
	}
	return path
}

// envWord makes a variable's name of a label as containerlab does.
func envWord(label string) string {
	return strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToUpper(r)
		}
		return '_'
	}, label)
}
