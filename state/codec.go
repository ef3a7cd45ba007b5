// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"

	"github.com/onevip/onevip/topology"
)

// Lengths of the secrets in bytes: SipHash-2-4 and HMAC-SHA-256.
const (
	CookieKeyLen    = 16
	HeartbeatKeyLen = 32
)

// encode gives the value of a record, with the schema that this version writes.
func encode(record any) ([]byte, error) {
	value, err := json.Marshal(stamp(record))
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", record, err)
	}
	return value, nil
}

// stamp sets the schema, so that no writer can forget it.
func stamp(record any) any {
	switch r := record.(type) {
	case Agent:
		r.Schema = Schema
		return r
	case Cluster:
		r.Schema = Schema
		return r
	case Conn:
		r.Schema = Schema
		return r
	case CookieKeys:
		r.Schema = Schema
		return r
	case Event:
		r.Schema = Schema
		return r
	case Failure:
		r.Schema = Schema
		return r
	case HeartbeatKey:
		r.Schema = Schema
		return r
	case IDs:
		r.Schema = Schema
		return r
	case Candidate:
		r.Schema = Schema
		return r
	case Load:
		r.Schema = Schema
		return r
	case Locality:
		r.Schema = Schema
		return r
	case LocalitySeen:
		r.Schema = Schema
		return r
	case Node:
		r.Schema = Schema
		return r
	case Service:
		r.Schema = Schema
		return r
	case Slots:
		r.Schema = Schema
		return r
	}
	return record
}

// decode reads the record that stands under key. It refuses what a newer
// version wrote, what stands under a foreign key and what would harm a reader.
func decode(key Key, value []byte) (any, error) {
	if err := checkSchema(value); err != nil {
		return nil, err
	}
	switch key.Kind {
	case KindAgent:
		return decodeAs[Agent](key, value)
	case KindCluster:
		return decodeAs[Cluster](key, value)
	case KindConn:
		return decodeAs[Conn](key, value)
	case KindCookie:
		return decodeAs[CookieKeys](key, value)
	case KindEvent:
		return decodeAs[Event](key, value)
	case KindFailure:
		return decodeAs[Failure](key, value)
	case KindHeartbeat:
		return decodeAs[HeartbeatKey](key, value)
	case KindIDs:
		return decodeAs[IDs](key, value)
	case KindLeader:
		return decodeAs[Candidate](key, value)
	case KindLoad:
		return decodeAs[Load](key, value)
	case KindLocality:
		return decodeAs[Locality](key, value)
	case KindSeen:
		return decodeAs[LocalitySeen](key, value)
	case KindNode:
		return decodeAs[Node](key, value)
	case KindService:
		return decodeAs[Service](key, value)
	case KindSlots:
		return decodeAs[Slots](key, value)
	}
	return nil, fmt.Errorf("unknown kind %q", key.Kind)
}

func checkSchema(value []byte) error {
	var header struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(value, &header); err != nil {
		return fmt.Errorf("not a record: %w", err)
	}
	if header.Schema > Schema {
		return fmt.Errorf("schema %d is newer than %d, the newest that this onevip reads: upgrade onevip here", header.Schema, Schema)
	}
	if header.Schema < 1 {
		return fmt.Errorf("schema %d: want %d", header.Schema, Schema)
	}
	return nil
}

// checked is a record that can tell whether it is whole.
type checked interface{ check() error }

func decodeAs[T checked](key Key, value []byte) (any, error) {
	var record T
	if err := json.Unmarshal(value, &record); err != nil {
		return nil, err
	}
	if err := record.check(); err != nil {
		return nil, err
	}
	if key.Kind == KindLeader { // its key names a lease, not the record
		return record, nil
	}
	own, err := keyOf(key.Cluster, record)
	if err != nil {
		return nil, err
	}
	if own != key {
		return nil, fmt.Errorf("the record is that of %s", own)
	}
	return record, nil
}

func (Agent) check() error     { return nil }
func (Conn) check() error      { return nil }
func (Event) check() error     { return nil }
func (IDs) check() error       { return nil }
func (Candidate) check() error { return nil }
func (Load) check() error      { return nil }

func (c Cluster) check() error {
	if c.WindowScale > 14 {
		return fmt.Errorf("window_scale %d: want 0 to 14 (RFC 7323)", c.WindowScale)
	}
	return nil
}

func (f Failure) check() error {
	if !f.ID.Valid() {
		return fmt.Errorf("id %d: want 1 to %d", f.ID, topology.MaxNodeID)
	}
	return nil
}

func (n Node) check() error {
	if !n.ID.Valid() {
		return fmt.Errorf("id %d: want 1 to %d", n.ID, topology.MaxNodeID)
	}
	return nil
}

func (s Service) check() error {
	if s.Port == 0 {
		return fmt.Errorf("port 0: want 1 to 65535")
	}
	return nil
}

func (s Slots) check() error {
	if len(s.Primary) != topology.SlotCount || len(s.Secondary) != topology.SlotCount {
		return fmt.Errorf("%d primaries and %d secondaries: want %d of each",
			len(s.Primary), len(s.Secondary), topology.SlotCount)
	}
	return nil
}

func (k CookieKeys) check() error {
	for _, key := range []Secret{k.Previous, k.Current, k.Next} {
		if len(key) != CookieKeyLen {
			return fmt.Errorf("a key of %d bytes: want %d", len(key), CookieKeyLen)
		}
	}
	return nil
}

func (k HeartbeatKey) check() error {
	if len(k.Key) != HeartbeatKeyLen {
		return fmt.Errorf("a key of %d bytes: want %d", len(k.Key), HeartbeatKeyLen)
	}
	return nil
}
