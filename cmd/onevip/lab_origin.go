// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/onevip/onevip/labs/origin"
	"github.com/onevip/onevip/labs/workload"
)

// labOriginFlags are the flags of lab origin.
type labOriginFlags struct {
	listen  []string
	control string
	files   workload.Spec
	cache   string
	disk    string
	options origin.Options // the rest
}

// labOriginCommand is what the nodes of lab 03-locality run.
func labOriginCommand(e *env) *cobra.Command {
	var f labOriginFlags
	cmd := &cobra.Command{
		Use:   "origin",
		Short: "Serve a lab's files from a bounded cache in front of a slow disk",
		Long: "Serve the files of a workload (SPECweb2005-Support-like downloads) from a cache of\n" +
			"bounded bytes in front of a slow disk, as the nodes of lab 03-locality do. Neither\n" +
			"holds real bytes: the files' content follows from their names. An answer says in\n" +
			"X-Node who sent it, and in X-Cache hit, miss, or shared (it waited for another\n" +
			"one's miss). GET /whoami gives the name, /origin/stats the counts. At --control\n" +
			"there are the stats too, and a POST to /origin/flush empties the cache.",
		Example: "  onevip lab origin --listen :8080 --cache 48MiB --disk 8MiB --seek 8ms",
		Args:    noArgs,
		Hidden:  true,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runLabOrigin(cmd.Context(), e, f) },
	}
	name, _ := os.Hostname() // none is a name too
	preset := origin.Default()
	flags := cmd.Flags()
	flags.StringSliceVar(&f.listen, "listen", []string{":8080"}, "addresses for clients, both families where only a port is given")
	flags.StringVar(&f.control, "control", "", "an address for who measures: stats, and flush")
	flags.StringVar(&f.options.Node, "node", name, "what it calls itself")
	flags.TextVar(&f.files, "files", workload.Default, "`set` of files that it serves")
	flags.StringVar(&f.cache, "cache", humanize.IBytes(uint64(preset.Cache)), "bytes of files that it holds")
	flags.StringVar(&f.disk, "disk", humanize.IBytes(uint64(preset.Disk)), "bytes a second that it reads")
	flags.DurationVar(&f.options.Seek, "seek", preset.Seek, "what each read of a file takes besides")
	return cmd
}

func runLabOrigin(ctx context.Context, e *env, f labOriginFlags) error {
	o, err := f.origin()
	if err != nil {
		return err
	}
	defer o.Close()
	group, ctx := errgroup.WithContext(ctx)
	serve := func(address string, handler http.Handler) error {
		ln, err := origin.Listen(ctx, address)
		if err != nil {
			return fmt.Errorf("lab origin: %w", err)
		}
		e.log.Info("serving", "listen", ln.Addr().String())
		group.Go(func() error { return origin.Serve(ctx, ln, handler) })
		return nil
	}
	group.Go(func() error {
		for _, address := range f.listen {
			if err := serve(address, o.Handler()); err != nil {
				return err
			}
		}
		if f.control == "" {
			return nil
		}
		return serve(f.control, o.Control())
	})
	return group.Wait()
}

func (f labOriginFlags) origin() (*origin.Origin, error) {
	options := f.options
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{{"cache", f.cache, &options.Cache}, {"disk", f.disk, &options.Disk}} {
		bytes, err := humanize.ParseBytes(size.text)
		if err != nil || bytes > maxOriginSize {
			return nil, usageErrorf("--%s %q: write a size up to 1TiB such as 48MiB", size.flag, size.text)
		}
		*size.to = int64(bytes)
	}
	set, err := workload.New(f.files)
	if err != nil {
		return nil, usageErrorf("--files: %w", err)
	}
	options.Files = set
	o, err := origin.New(options)
	if err != nil {
		return nil, usageErrorf("%w", err)
	}
	return o, nil
}

const maxOriginSize = 1 << 40
