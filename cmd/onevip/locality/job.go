// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/onevip/onevip/cmd/onevip/labload"
	"github.com/onevip/onevip/labs"
)

// Job is what the clients are to do: one of the two.
type Job struct {
	Load  *Load  `json:",omitempty"` // gives a Trace
	Pairs *Pairs `json:",omitempty"` // gives a []Pair
}

// ClientsWords are the arguments that make the binary of the lab's client host
// read a Job from stdin, do it, and write what it gives to stdout, as JSON.
var ClientsWords = []string{"bench", "locality-clients"}

// CountingLine is what the load says on stderr when its downloads begin to count.
const CountingLine = "counting"

// DoJob is what the command does.
func DoJob(ctx context.Context, in io.Reader, out, said io.Writer) error {
	var job Job
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("read the clients' job: %w", err)
	}
	var result any
	var err error
	switch {
	case job.Load != nil:
		result, err = job.Load.Run(ctx, func() { fmt.Fprintln(said, CountingLine) })
	case job.Pairs != nil:
		result, err = job.Pairs.Run(ctx)
	default:
		err = errors.New("the clients have nothing to do")
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

// clients has the client host do a job.
func (r *runner) clients(ctx context.Context, job Job, said *labload.Said, into any) error {
	text, err := json.Marshal(job)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	argv := append([]string{"onevip"}, ClientsWords...)
	code, err := labs.Exec(ctx, r.Name, "client", argv, labs.Stdio{In: bytes.NewReader(text), Out: &out, Err: said})
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("the clients ended with code %d: %s", code, said.Text())
	}
	return json.Unmarshal(out.Bytes(), into)
}
