// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func localityCommand(e *env) *cobra.Command {
	return parent("locality", "Show which nodes serve what is asked for, of services that go by a key in the request",
		localityTopCommand(e),
		localityShowCommand(e),
	)
}

func localityTopCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "List the busiest buckets of keys and the nodes that serve them",
		Long: "List the busiest buckets of keys, over all nodes, and the nodes that serve them.\n" +
			"Each node tells of its 32 busiest buckets of a service, every few seconds; a bucket that is none of those on a node lacks that node's requests.\n" +
			"Key is one that fell into the bucket, others may too. What a header holds is not shown.",
	}
	flags := cmd.Flags()
	service := flags.String("service", "", "only buckets of this service")
	limit := flags.Int("limit", 20, "at most so many, the busiest; 0: all that are known")
	return viewCommand(e, cmd, func(ctx context.Context, store state.Store, _ topology.Cluster) (report, error) {
		if *limit < 0 {
			return nil, usageErrorf("--limit %d: write 0 for all, or a positive number", *limit)
		}
		view, err := store.View(ctx)
		if err != nil {
			return nil, err
		}
		services, err := inspecting(view, topology.ServiceName(*service))
		if err != nil {
			return nil, err
		}
		return reportTop(view, services, *limit, e.now()), nil
	})
}

func localityShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show KEY",
		Short: "Show the bucket of a key, its home, and the nodes that serve it",
		Long: "Show the bucket of a key, its home, and the nodes that serve it.\n" +
			"The key is written as a client writes it: a path, with or without a query, where the service goes by path or path-prefix;\n" +
			"host and path, example.com/index.html, for host+path; the header's value for header; the server's name for tls-sni.",
		Example: "  onevip locality show /films/7.mp4\n  onevip locality show --service files example.com/index.html -o json",
	}
	service := cmd.Flags().String("service", "", "the service; may be left out where only one goes by a key")
	v := newViewer(e, cmd)
	cmd.Args = exactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return v.inCluster(func(ctx context.Context, cluster topology.Cluster) error {
			return v.show(ctx, cluster, func(ctx context.Context, store state.Store, _ topology.Cluster) (report, error) {
				view, err := store.View(ctx)
				if err != nil {
					return nil, err
				}
				return reportKey(view, topology.ServiceName(*service), args[0], e.now())
			})
		})(cmd, args)
	}
	return cmd
}

// inspecting gives the services that go by a key, in the order of their names, or
// the one that is named.
func inspecting(view state.View, name topology.ServiceName) ([]state.Service, error) {
	var found []state.Service
	var names []string
	for _, service := range sortedServices(view) {
		if service.Locality == nil {
			continue
		}
		names = append(names, string(service.Name))
		if name == "" || name == service.Name {
			found = append(found, service)
		}
	}
	service, known := view.Services[name]
	switch {
	case len(found) > 0:
		return found, nil
	case len(names) == 0:
		return nil, usageErrorf("no service goes by a key in the request; one does with policy: %s or %s", topology.Locality, topology.BoundedHash)
	case !known:
		return nil, usageErrorf("there is no service %q; by a key go: %s", name, strings.Join(names, ", "))
	}
	return nil, usageErrorf("service %s has policy %s and does not look at requests; by a key go: %s", name, service.Policy, strings.Join(names, ", "))
}

// keyOf makes a key, and its hash, of what a user writes for one: of a request for
// it, as the nodes do.
func keyOf(rules topology.LocalityKey, word string) (hash uint64, text string, err error) {
	kind, segments, header := rules.Parse()
	var why scheduler.Fallback
	switch kind {
	case topology.KeyHeader, topology.KeySNI:
		hash, text, why = bareKey(kind, word)
	case topology.KeyHostPath:
		if !strings.Contains(word, "://") {
			word = "http://" + word
		}
		fallthrough
	default:
		hash, text, why = scheduler.Key(kind, segments, header, []byte("GET "+word+" HTTP/1.1\r\n\r\n"))
	}
	if why != scheduler.Inspected {
		return 0, "", usageErrorf("%q is nothing to go by (%s): write %s", word, why, keyExample(kind))
	}
	return hash, text, nil
}

// bareKey is a key that stands for itself.
func bareKey(kind topology.KeyKind, word string) (hash uint64, text string, why scheduler.Fallback) {
	if text = strings.Trim(word, " \t"); kind == topology.KeySNI {
		text = strings.ToLower(text)
	}
	if text == "" {
		return 0, "", scheduler.FallbackNoKey
	}
	return scheduler.KeyHash(text), text, scheduler.Inspected
}

// keyExample says how a key of that kind is written.
func keyExample(kind topology.KeyKind) string {
	switch kind {
	case topology.KeyHeader:
		return "the header's value"
	case topology.KeySNI:
		return "a server's name, example.com"
	case topology.KeyHostPath:
		return "host and path, example.com/index.html"
	}
	return "a path, /index.html"
}
