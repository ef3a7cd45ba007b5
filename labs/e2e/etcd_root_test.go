// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What stands in etcd can be read with Debian's etcdctl, and is true.
func TestEtcdctlReadsWhatIs(t *testing.T) {
	l := quickstart
	l.use(t)
	l.start(t, "client", "curl", "-s", "--limit-rate", "100k", "-o", "/dev/null", families[0].url("/1g"))
	var records map[string]json.RawMessage
	var conn string
	eventually(t, 2*patience, func() error { // conns.min_age is 5 s
		records = l.etcdctl(t)
		for key := range records {
			if strings.HasPrefix(key, "conns/") {
				conn = key
				return nil
			}
		}
		return fmt.Errorf("the download is not under conns/ yet")
	})
	checkConn(t, conn, records[conn])
	checkRecords(t, l, records)
}

// etcdctl gives the cluster's records by the rest of their keys.
func (l *lab) etcdctl(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	const prefix = "/onevip/v1/quickstart/"
	out := l.run(t, "ctl", "env", "ETCDCTL_API=3", "etcdctl", "--endpoints=http://172.31.77.2:2379",
		"get", "--prefix", "/onevip/v1/", "--write-out=json")
	var answer struct {
		Kvs []struct{ Key, Value string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("etcdctl: %v\n%s", err, out)
	}
	records := map[string]json.RawMessage{}
	for _, kv := range answer.Kvs {
		key, errKey := base64.StdEncoding.DecodeString(kv.Key)
		value, errValue := base64.StdEncoding.DecodeString(kv.Value)
		name, ours := strings.CutPrefix(string(key), prefix)
		if errKey != nil || errValue != nil || !ours || !json.Valid(value) {
			t.Fatalf("key %q: want JSON under %s, have %q", key, prefix, value)
		}
		records[name] = value
	}
	return records
}

func checkRecords(t *testing.T, l *lab, records map[string]json.RawMessage) {
	t.Helper()
	for _, key := range []string{"cluster", "slots", "keys/cookie", "keys/heartbeat", "services/web", "scheduler/web",
		"nodes/n1", "nodes/n2", "nodes/n3", "nodes/n4", "agents/n1", "agents/n2", "agents/n3", "agents/n4"} {
		var record struct{ Schema int }
		if err := json.Unmarshal(records[key], &record); err != nil || record.Schema != 1 {
			t.Errorf("%s: want a record with schema 1, have %q (%v)", key, records[key], err)
		}
	}
	for _, node := range nodes {
		var record struct{ MAC string }
		if err := json.Unmarshal(records["nodes/"+node], &record); err != nil {
			t.Errorf("nodes/%s: %v", node, err)
		}
		if mac := l.macOf(t, node); mac != record.MAC {
			t.Errorf("nodes/%s has MAC %s, its eth0 %s", node, record.MAC, mac)
		}
	}
}

// macOf is the address of a node's eth0; /sys would show the host's interfaces.
func (l *lab) macOf(t *testing.T, node string) string {
	t.Helper()
	var links []struct{ Address string }
	if err := json.Unmarshal([]byte(l.run(t, node, "ip", "-j", "link", "show", "dev", "eth0")), &links); err != nil || len(links) != 1 {
		t.Fatalf("ip link: %v", err)
	}
	return links[0].Address
}

// checkConn compares the record of a download with the socket of its node.
func checkConn(t *testing.T, key string, value json.RawMessage) {
	t.Helper()
	var record struct{ Node, Service, Client, VIP string }
	if err := json.Unmarshal(value, &record); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	if want := fmt.Sprintf("conns/%s/%s/%s", record.Node, record.Service, record.Client); key != want {
		t.Errorf("key %s, its record says %s", key, want)
	}
	out := quickstart.run(t, record.Node, "ss", "-tnH", "state", "established", "dst", record.Client)
	if !strings.Contains(out, record.Client) {
		t.Errorf("%s has no socket for %s: %q", record.Node, record.Client, out)
	}
}
