// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	openvswitch "github.com/digitalocean/go-openvswitch/ovs"

	"github.com/onevip/onevip/topology"
)

// vsctlTimeout is what ovs-vsctl may take, ovs-vswitchd's reaction included, in
// seconds.
const vsctlTimeout = 15

// vsctl speaks to the OVSDB server of one switch, by go-openvswitch and, for
// what that can't say, by ovs-vsctl itself.
type vsctl struct {
	ctx context.Context
	db  string // unix:PATH or tcp:HOST:PORT
}

func newVsctl(ctx context.Context, sw topology.Switch) *vsctl {
	return &vsctl{ctx: ctx, db: sw.OVSDB}
}

// client gives a go-openvswitch client. It makes one transaction of each of its
// commands; the commands in rider join that transaction.
func (v *vsctl) client(rider ...string) *openvswitch.Client {
	return openvswitch.New(openvswitch.Timeout(vsctlTimeout),
		openvswitch.Exec(func(command string, args ...string) ([]byte, error) {
			if command == "ovs-vsctl" && v.db != "" {
				args = slices.Concat([]string{"--db=" + v.db}, args, rider)
			}
			return run(v.ctx, command, args...)
		}))
}

// transact runs ovs-vsctl commands as one transaction.
func (v *vsctl) transact(args ...string) ([]byte, error) {
	flags := []string{fmt.Sprintf("--timeout=%d", vsctlTimeout)}
	if v.db != "" {
		flags = append(flags, "--db="+v.db)
	}
	return run(v.ctx, "ovs-vsctl", append(flags, args...)...)
}

// run gives the standard output of a command, or an error with what it says.
func run(ctx context.Context, command string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed (Debian: apt install openvswitch-switch): %w", command, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", command, strings.Join(args, " "), err,
			strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// row is a record of OVSDB, column by column.
type row map[string]column

// column is a value in the notation of RFC 7047, section 5.1.
type column struct{ raw json.RawMessage }

// list reads columns of the records of a table: of those named, or of all.
func (v *vsctl) list(columns, table string, records ...string) ([]row, error) {
	args := append([]string{"--if-exists", "--format=json", "--columns=" + columns, "list", table}, records...)
	out, err := v.transact(args...)
	if err != nil {
		return nil, err
	}
	return parseRows(out)
}

func parseRows(out []byte) ([]row, error) {
	var reply struct {
		Headings []string
		Data     [][]json.RawMessage
	}
	if err := json.Unmarshal(out, &reply); err != nil {
		return nil, fmt.Errorf("read what ovs-vsctl lists: %w", err)
	}
	rows := make([]row, 0, len(reply.Data))
	for _, values := range reply.Data {
		r := make(row, len(values))
		for i := range min(len(values), len(reply.Headings)) {
			r[reply.Headings[i]] = column{values[i]}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// strings gives the elements of a set, or the one value, as text.
func (c column) strings() []string {
	var tagged []json.RawMessage
	if json.Unmarshal(c.raw, &tagged) != nil || len(tagged) != 2 {
		return []string{atom(c.raw)}
	}
	var elements []json.RawMessage
	if atom(tagged[0]) != "set" {
		return []string{atom(tagged[1])} // ["uuid", "..."]
	}
	if json.Unmarshal(tagged[1], &elements) != nil {
		return nil
	}
	texts := make([]string, 0, len(elements))
	for _, e := range elements {
		texts = append(texts, column{e}.strings()...)
	}
	return texts
}

// one gives an optional value, empty if it is not set.
func (c column) one() string { return strings.Join(c.strings(), ",") }

// entries gives a map.
func (c column) entries() map[string]string {
	var tagged []json.RawMessage
	var pairs [][]json.RawMessage
	if json.Unmarshal(c.raw, &tagged) != nil || len(tagged) != 2 || json.Unmarshal(tagged[1], &pairs) != nil {
		return nil
	}
	entries := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		if len(pair) == 2 {
			entries[atom(pair[0])] = column{pair[1]}.one()
		}
	}
	return entries
}

func atom(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}
