// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/onevip/onevip/labs"
	"github.com/onevip/onevip/labs/origin"
	"github.com/onevip/onevip/labs/workload"
)

// Storage is what each server of the lab has its files on.
type Storage struct {
	Cache int64         `json:"cache_bytes"`
	Disk  int64         `json:"disk_bytes_per_second"`
	Seek  time.Duration `json:"seek_ns"`
}

// env makes the lab's servers have it.
func (s Storage) env(files workload.Spec) map[string]string {
	return map[string]string{"ORIGIN": fmt.Sprintf("--files %s --cache %dB --disk %dB --seek %s", files, s.Cache, s.Disk, s.Seek)}
}

// flush empties the caches.
func (r *runner) flush(ctx context.Context) error {
	for _, host := range r.Labelled("onevip.role", "server") {
		if err := r.control(ctx, host.Name, "POST", "/origin/flush", &bytes.Buffer{}); err != nil {
			return err
		}
	}
	return nil
}

// stats are the counts of each server by its host's name.
func (r *runner) stats(ctx context.Context) (map[string]origin.Stats, error) {
	all := map[string]origin.Stats{}
	for _, host := range r.Labelled("onevip.role", "server") {
		var out bytes.Buffer
		if err := r.control(ctx, host.Name, "GET", "/origin/stats", &out); err != nil {
			return nil, err
		}
		var s origin.Stats
		if err := json.Unmarshal(out.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("stats of %s: %w", host.Name, err)
		}
		all[host.Name] = s
	}
	return all, nil
}

// since is what each server has done since.
func (r *runner) since(ctx context.Context, before map[string]origin.Stats) (nodes []NodeRound, err error) {
	after, err := r.stats(ctx)
	for _, host := range r.Labelled("onevip.role", "server") {
		was, now := before[host.Name], after[host.Name]
		nodes = append(nodes, NodeRound{
			Node: host.Name, Hits: now.Hits - was.Hits, Misses: now.Misses - was.Misses, Shared: now.Shared - was.Shared,
			StorageBytes: now.StorageRead - was.StorageRead, CachedBytes: now.CacheBytes,
		})
	}
	return nodes, err
}

// own is the address of a host, as a part of a shell's word.
const own = `$(ip -o -4 addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4; exit }')`

// control is a request to the server's own address, where nobody else asks.
func (r *runner) control(ctx context.Context, host, method, path string, out *bytes.Buffer) error {
	return r.run(ctx, host, out, "sh", "-c", `curl -fsS --max-time 10 -X "$1" "http://`+own+`:9080$2"`, "sh", method, path)
}

func (r *runner) curl(ctx context.Context, host string, out *bytes.Buffer, url string) error {
	return r.run(ctx, host, out, "curl", "-fsS", "--max-time", "10", url)
}

// run runs a command that must succeed.
func (r *runner) run(ctx context.Context, host string, out *bytes.Buffer, argv ...string) error {
	var said bytes.Buffer
	code, err := labs.Exec(ctx, r.Name, host, argv, labs.Stdio{Out: out, Err: &said})
	if err == nil && code != 0 {
		err = fmt.Errorf("host %s: %q ended with code %d: %s", host, argv, code, said.Bytes())
	}
	return err
}
