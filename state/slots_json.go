// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"

	"github.com/onevip/onevip/topology"
)

// slotsJSON is Slots as stored. JSON takes a []topology.NodeID for bytes and
// writes base64; numbers can be read.
type slotsJSON struct {
	Schema     int                 `json:"schema"`
	Epoch      uint64              `json:"epoch"`
	Nodes      []int               `json:"nodes"`
	Schedulers topology.Schedulers `json:"schedulers"`
	Primary    []int               `json:"primary"`
	Secondary  []int               `json:"secondary"`
}

// MarshalJSON writes node ids as numbers.
func (s Slots) MarshalJSON() ([]byte, error) {
	return json.Marshal(slotsJSON{
		Schema:     s.Schema,
		Epoch:      s.Epoch,
		Nodes:      numbers(s.Nodes),
		Schedulers: s.Schedulers,
		Primary:    numbers(s.Primary),
		Secondary:  numbers(s.Secondary),
	})
}

// UnmarshalJSON is the inverse of MarshalJSON. It refuses what is no id.
func (s *Slots) UnmarshalJSON(data []byte) error {
	var stored slotsJSON
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	read := Slots{Schema: stored.Schema, Epoch: stored.Epoch, Schedulers: stored.Schedulers}
	for _, list := range []struct {
		from []int
		to   *[]topology.NodeID
	}{{stored.Nodes, &read.Nodes}, {stored.Primary, &read.Primary}, {stored.Secondary, &read.Secondary}} {
		ids, err := nodeIDs(list.from)
		if err != nil {
			return err
		}
		*list.to = ids
	}
	*s = read
	return nil
}

func numbers(ids []topology.NodeID) []int {
	list := make([]int, len(ids))
	for i, id := range ids {
		list[i] = int(id)
	}
	return list
}

func nodeIDs(list []int) ([]topology.NodeID, error) {
	ids := make([]topology.NodeID, len(list))
	for i, n := range list {
		if n < 0 || n > int(topology.MaxNodeID) {
			return nil, fmt.Errorf("node id %d: want 0 to %d", n, topology.MaxNodeID)
		}
		ids[i] = topology.NodeID(n)
	}
	return ids, nil
}
