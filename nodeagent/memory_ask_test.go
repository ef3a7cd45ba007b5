// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"bytes"
	"encoding/json"
	"net"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// Questions and answers of memoryFilters are JSON behind the magic.

func (f *memoryFilter) Question(q bpf.Question) ([]byte, error) {
	return askFrame(q.To[:], q.From[:], q)
}

func (f *memoryFilter) ParseAnswer(frame []byte) (a bpf.Answer, err error) {
	body := frame[headerSize+len(askMagic):]
	if !bytes.Contains(body, []byte(`"Yes"`)) {
		return a, bpf.ErrNoAnswer
	}
	return a, json.Unmarshal(body, &a)
}

func askFrame(to, from net.HardwareAddr, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	return frameOf(to, from, append(bytes.Clone(askMagic), raw...)), err
}

// says whether the answer is yes.
func (f *memoryFilter) says(q bpf.Question) (yes bool) {
	f.locked(func() { yes = q.Kind == bpf.AskAlive || f.guard.sockets[q.Flow] })
	return yes
}

// answer is what the programs of this node do with a frame: an answer, or nil.
func (f *memoryFilter) answer(frame []byte) []byte {
	var q bpf.Question
	if !bytes.HasPrefix(frame[headerSize:], askMagic) {
		return nil
	}
	if json.Unmarshal(frame[headerSize+len(askMagic):], &q) != nil || q.Asked != f.self() || q.Asked == topology.Undecided {
		return nil
	}
	out, err := askFrame(q.From[:], q.To[:], bpf.Answer{Kind: q.Kind, Asked: q.Asked, Nonce: q.Nonce, Flow: q.Flow, Yes: f.says(q)})
	if err != nil {
		return nil
	}
	return out
}
