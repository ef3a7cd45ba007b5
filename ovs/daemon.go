// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// daemon is ovs-vswitchd by its control socket, as ovs-appctl speaks to it: JSON-RPC
// 1.0 without framing, one question at a time.
type daemon struct {
	conn    net.Conn
	replies *json.Decoder
	release func() bool // the context lets go of conn
}

// errElsewhere: ovs-vswitchd can't be asked from here.
var errElsewhere = errors.New("no control socket of ovs-vswitchd beside that of its OVSDB server")

// dialDaemon finds ovs-vswitchd beside the socket of its OVSDB server. One that
// died leaves its socket behind. The end of ctx ends the connection.
func dialDaemon(ctx context.Context, ovsdb string) (*daemon, error) {
	db, local := strings.CutPrefix(ovsdb, "unix:")
	if !local {
		return nil, errElsewhere
	}
	sockets, err := filepath.Glob(filepath.Join(filepath.Dir(db), "ovs-vswitchd*.ctl"))
	if err != nil {
		return nil, errElsewhere // a folder with the characters of a pattern
	}
	var dialer net.Dialer
	for _, socket := range sockets {
		if conn, err := dialer.DialContext(ctx, "unix", socket); err == nil {
			release := context.AfterFunc(ctx, func() { _ = conn.Close() })
			return &daemon{conn: conn, replies: json.NewDecoder(conn), release: release}, nil
		}
	}
	return nil, errElsewhere
}

func (d *daemon) close() {
	d.release()
	_ = d.conn.Close() // nothing was left to say
}

// ask sends a command without arguments.
func (d *daemon) ask(command string) error {
	return json.NewEncoder(d.conn).Encode(map[string]any{"method": command, "params": []string{}, "id": 0})
}

// answer waits for the answer to the last question.
func (d *daemon) answer() error {
	var reply struct{ Error *string }
	if err := d.replies.Decode(&reply); err != nil {
		return fmt.Errorf("read the answer of ovs-vswitchd: %w", err)
	}
	if reply.Error != nil {
		return errors.New(*reply.Error)
	}
	return nil
}
