// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/onevip/onevip/topology"
)

// Inspected is how connections got their nodes, all nodes together: by outcome (hit,
// grown, spilled), or why by least connection (short, silent). Those of a service
// that looks at no request are not there.
type Inspected map[string]int64

// inspectedMetric is what an agent counts of one service.
var inspectedMetric = regexp.MustCompile(`(?m)^onevip_locality_(?:requests|fallbacks)_total\{(?:outcome|reason)="(\w+)",service="([\w.-]+)"\} (\d+)`)

// add adds what one agent's metrics say of a service.
func (i Inspected) add(metrics []byte, service topology.ServiceName) {
	for _, m := range inspectedMetric.FindAllSubmatch(metrics, -1) {
		if string(m[2]) == string(service) {
			n, _ := strconv.ParseInt(string(m[3]), 10, 64) // digits
			i[string(m[1])] += n
		}
	}
}

// since is what was counted since; zeros are left out.
func (i Inspected) since(before Inspected) Inspected {
	more := Inspected{}
	for what, n := range i {
		if n > before[what] {
			more[what] = n - before[what]
		}
	}
	return more
}

// agentMetrics is where an agent tells its counts, on its host alone.
const agentMetrics = "http://127.0.0.1:9653/metrics"

// inspected asks all agents for what they counted of a service.
func (r *runner) inspected(ctx context.Context, service topology.ServiceName) (Inspected, error) {
	all := Inspected{}
	for _, host := range r.Labelled("onevip.role", "server") {
		var out bytes.Buffer
		if err := r.curl(ctx, host.Name, &out, agentMetrics); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		all.add(out.Bytes(), service)
	}
	return all, nil
}
