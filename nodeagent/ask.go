// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"bytes"
	"context"
	"errors"

	"github.com/onevip/onevip/bpf"
)

// askMagic begins the payload of a question or an answer: docs/formats/ask.md.
var askMagic = []byte("1ASK")

// onFrame tells heartbeats from answers to this node's questions. Questions are
// answered by the programs and do not come up.
func (a *agent) onFrame(ctx context.Context, frame []byte) {
	payload := frame[headerSize:]
	if !bytes.HasPrefix(payload, askMagic) {
		a.step(ctx, frameReceived{payload})
		return
	}
	if a.installer.filter == nil {
		a.metrics.countFrame(refusedNoKey)
		return
	}
	answer, err := a.installer.filter.ParseAnswer(frame)
	switch {
	case errors.Is(err, bpf.ErrForgedAnswer):
		a.metrics.countFrame(refusedForged)
	case err != nil:
		a.metrics.countFrame(refusedForeign)
	case answer.Kind == bpf.AskWhoHas:
		a.guard.hear(answer)
	default:
		a.step(ctx, answered{answer})
	}
}

// ask sends questions. One that is lost is asked again by who waits for it.
func (a *agent) ask(questions []bpf.Question) {
	for _, q := range questions {
		frame, err := a.installer.filter.Question(q)
		if err == nil {
			err = a.wire.send(frame)
		}
		if err == nil {
			a.metrics.asked.Inc()
		} else {
			a.metrics.askFailed.Inc()
		}
	}
}
