// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"testing"
)

// TestMain runs a helper verb instead of tests when asked to: that is how this
// binary becomes a client inside the lab.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		if err := runHelper(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "helper:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	downAll()
	os.Exit(code)
}

// helperArgs are the flags that the verbs share.
type helperArgs struct {
	vip      string
	path     string
	from     netip.Addr // first client address
	froms    int        // number of client addresses, counted up
	count    int
	parallel int
	rate     int    // per second
	keys     int    // paths below path to ask for in turns; 0: path alone
	seed     uint64 // of what is random
	listen   string // etcd's client URL
	data     string // etcd's folder
}

func runHelper(verb string, args []string) error {
	verbs := map[string]func(context.Context, helperArgs) (any, error){
		"requests": helpRequests,
		"rate":     helpRate,
		"hold":     helpHold,
		"streams":  helpStreams,
		"lopsided": helpLopsided,
		"etcd":     helpEtcd,
		"play":     helpPlay,
		"splits":   helpSplits,
		"silent":   helpSilent,
		"closed":   helpClosed,
	}
	run, ok := verbs[verb]
	if !ok {
		return fmt.Errorf("no verb %q", verb)
	}
	var a helperArgs
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.StringVar(&a.vip, "vip", "10.77.0.1:80", "address and port of the service")
	flags.StringVar(&a.path, "path", "/whoami", "path to GET")
	flags.TextVar(&a.from, "from", netip.IPv4Unspecified(), "first client address; unspecified: the kernel's choice")
	flags.IntVar(&a.froms, "froms", 1, "client addresses to use")
	flags.IntVar(&a.count, "n", 1, "connections or requests")
	flags.IntVar(&a.parallel, "parallel", 4, "at a time")
	flags.IntVar(&a.rate, "rate", 0, "requests per second, open loop")
	flags.IntVar(&a.keys, "keys", 0, "paths below path to ask for in turns; 0: path alone")
	flags.Uint64Var(&a.seed, "seed", 0, "of what is random")
	flags.StringVar(&a.listen, "listen", "", "etcd: client URL")
	flags.StringVar(&a.data, "data", "", "etcd: data folder")
	if err := flags.Parse(args); err != nil {
		return err
	}
	result, err := run(context.Background(), a)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// source is the client address of the i-th connection, or the zero Addr.
func (a helperArgs) source(i int) netip.Addr {
	if a.from.IsUnspecified() {
		return netip.Addr{}
	}
	addr := a.from
	for range i % a.froms {
		addr = addr.Next()
	}
	return addr
}

// pathOf is what the i-th connection asks for.
func (a helperArgs) pathOf(i int) string {
	if a.keys == 0 {
		return a.path
	}
	return fmt.Sprintf("%s/%d", a.path, i%a.keys)
}
