// SPDX-License-Identifier: Apache-2.0

package labload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"github.com/onevip/onevip/labs"
)

// Cluster is a running lab with a cluster in it.
type Cluster struct{ *labs.Running }

// Onevip runs a verb where the cluster's etcd is in reach, and gives its exit code.
func (l Cluster) Onevip(ctx context.Context, out io.Writer, args ...string) (int, error) {
	hosts := l.Labelled("onevip.role", "controller")
	if len(hosts) == 0 {
		return 0, fmt.Errorf("lab %s has no host with the label onevip.role: controller", l.Name)
	}
	return labs.Exec(ctx, l.Name, hosts[0].Name, append([]string{"onevip"}, args...), labs.Stdio{Out: out, Err: io.Discard})
}

// portDrops is how ss shows packets that found a packet socket's buffer full.
var portDrops = regexp.MustCompile(`,d(\d+)\)`)

// SwitchLost is how many packets the lab's switch had no time for: its userspace
// datapath reads its ports through packet sockets. It is for information: 0 where
// it can not be told.
func (l Cluster) SwitchLost(ctx context.Context) (lost int) {
	for _, host := range l.Labelled("onevip.role", "switch") {
		out := &bytes.Buffer{}
		if _, err := labs.Exec(ctx, l.Name, host.Name, []string{"ss", "-0", "-m"}, labs.Stdio{Out: out, Err: io.Discard}); err != nil {
			return 0
		}
		for _, m := range portDrops.FindAllStringSubmatch(out.String(), -1) {
			n, _ := strconv.Atoi(m[1]) // digits
			lost += n
		}
	}
	return lost
}
